"""Servers that mean harm: deadlines and sizes hold, and memory stays flat (labkit/hostile)."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType
from hadirector.core.settings.questions import Dialogue, JsonWanted, Preset, Step, Tls
from tests.shell.authority import Authority
from tests.shell.probing import check, probe

LAB = Path(__file__).resolve().parents[2] / "netns-lab"
TIMEOUT = 1.0
LATE = 2.0  # seconds that this machine may be busy with others
FLAT = 24 << 20  # bytes: one body of 1 GiB would be forty of these

PAGE = replace(check(CheckType.HTTP, TIMEOUT), body="status OK")
JSON = replace(PAGE, body=None, json=(JsonWanted("status", '"ok"'),))
STEPS = replace(check(CheckType.EXPECT, TIMEOUT), dialogue=Dialogue(steps=(Step(expect="^220 "),)))
FTP = replace(STEPS, dialogue=Dialogue(preset=Preset.FTP))
HTTPS = replace(PAGE, type=CheckType.HTTPS, tls=Tls(verify=False))

WAYS = {
    "drip": (PAGE, "answer not complete within 1s"),
    "endless head": (PAGE, "head of its answer over 16 KiB"),
    "huge body": (PAGE, "HTTP 200, body does not match"),
    "chunked body": (PAGE, "chunked body in over 4096 chunks"),
    "gzip bomb": (PAGE, "HTTP 200, but its body is compressed"),
    "deep json": (JSON, "HTTP 200, body is not JSON"),
    "evil text": (replace(PAGE, body="(a+)+b"), "body: /(a+)+b/ was not decided within 20ms"),
    "banner": (STEPS, " KiB, and no end of /^220 /"),
    "lines": (FTP, "over 256 replies, and no end of greeting"),
    "dropped lines": (STEPS, "/^220 / did not come within 1s"),
    "tls garbage": (HTTPS, "what it answers is not TLS"),
    "tls alerts": (HTTPS, "TLS failed: too many warn alerts"),
    "tls chain": (HTTPS, "TLS handshake over 32 KiB"),
    "tls body": (HTTPS, "HTTP 200, body does not match"),
    "tls drops": (HTTPS, "not an HTTP answer: 'x'"),
    "silence": (PAGE, "connected, but no answer within 1s"),
}


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    folder = tmp_path_factory.mktemp("hostile")
    process = subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-m", "labkit.hostile", str(folder)],
        cwd=LAB,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.kill()
    process.wait()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def timed(one: Check, port: int) -> tuple[Outcome, float]:
    began = time.monotonic()
    return await probe(one, port), time.monotonic() - began


@pytest.mark.parametrize("way", WAYS)
async def test_bounds_hold_whatever_a_server_does(ports: dict[str, int], way: str) -> None:
    one, detail = WAYS[way]
    await probe(one, ports[way])  # what is loaded once is no growth
    before = resident()

    outcome, took = await timed(one, ports[way])

    assert detail in outcome.detail or outcome.detail == "reset"  # it may end the talk first
    assert outcome.cause in (Cause.ANSWERED, Cause.PARTIAL, Cause.SILENT)
    assert took < TIMEOUT + LATE
    assert resident() - before < FLAT


def test_every_way_is_tried(ports: dict[str, int]) -> None:
    assert WAYS.keys() == ports.keys()


@pytest.mark.parametrize(("version", "key"), [("-tls1_2", b"R\n"), ("-tls1_3", b"K\n")])
async def test_asking_for_new_keys_again_and_again_costs_a_server_its_time(
    tmp_path: Path, version: str, key: bytes
) -> None:
    # openssl s_server renegotiates at a line R (TLS 1.2), and changes keys at a line K (TLS 1.3).
    certificate, secret = Authority.made(tmp_path).certificate("again")
    server = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", "127.0.0.1:0", version),
        *("-cert", str(certificate), "-key", str(secret)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        while not (line := await server.stdout.readline()).startswith(b"ACCEPT "):
            assert line, "it ended"
        port = int(line.rsplit(b":", 1)[1])
        probing = asyncio.create_task(timed(HTTPS, port))
        while not (line := await server.stdout.readline()).startswith(b"GET /"):
            assert line, "it ended before the request came"
        for _ in range(100):
            await asyncio.sleep(0.01)
            if server.returncode is None:  # it may give up
                server.stdin.write(key)
        outcome, took = await probing
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        await server.wait()

    assert outcome.cause in (Cause.ANSWERED, Cause.PARTIAL)
    assert took < TIMEOUT + LATE
