"""Dialogues against small scripted servers: smtp, the operator's own steps, and every preset."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core.address import Endpoint, canonical
from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.core.settings.questions import (
    Dialogue,
    Preset,
    Smtp,
    Step,
    Tls,
    Transport,
)
from hadirector.shell.probes import base, script
from hadirector.shell.probes.credentials import Credentials
from hadirector.shell.probes.dialogue import Dialogues
from hadirector.shell.probes.presets_datagram import Radius
from hadirector.shell.probes.search import Search
from tests.shell.authority import DAY, Authority
from tests.shell.probing import answered, check, dialogue, good, probe, says, serving
from tests.shell.test_probe_udp import answering

AUTH, SECRET = "/etc/hadirector/auth", "/etc/hadirector/secret"
FILES = {AUTH: FileText(b"probe:s3cret\n"), SECRET: FileText(b"radius key\n")}


def asks(preset: Preset, *, login: bool = False, **more: object) -> Check:
    made = Dialogue(preset=preset, **more)  # type: ignore[arg-type]  # by its fields' names
    return replace(check(CheckType.EXPECT), dialogue=made, auth_file=AUTH if login else None)


def steps(*found: tuple[str, str], timeout: float = 5.0) -> Check:
    made = tuple(
        Step(send=text.encode()) if kind == "send" else Step(expect=text) for kind, text in found
    )
    return replace(check(CheckType.EXPECT, timeout), dialogue=Dialogue(steps=made))


# --- smtp --------------------------------------------------------------------------------------

SMTP = replace(check(CheckType.SMTP), smtp=Smtp("lb1.example"))
EHLO = b"250-mail.example\r\n250-STARTTLS\r\n250 HELP\r\n"


async def test_smtp_greets_and_takes_its_leave() -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in (b"220-wait\r\n220 mail.example\r\n", EHLO, b"221 bye\r\n"):
            writer.write(line)
            heard.extend(await reader.read(1000))

    async with serving(serve) as port:
        assert await probe(SMTP, port) == good("greeting and EHLO well")

    assert bytes(heard) == b"EHLO lb1.example\r\nQUIT\r\n"


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ([b"421 too busy\r\n"], "greeting is '421 too busy', expected 220"),
        ([b"220 x\r\n", b"502 what?\r\n"], "reply to EHLO is '502 what?', expected 250"),
        ([b"SSH-2.0-x\r\n"], "greeting is 'SSH-2.0-x', expected 220"),
    ],
)
async def test_smtp_says_what_it_heard_instead(lines: list[bytes], detail: str) -> None:
    async with serving(dialogue(*lines)) as port:
        assert await probe(SMTP, port) == answered(detail)


async def test_smtp_begins_tls_where_asked(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path)
    context = authority.context("mail", names="DNS:mail.example")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        assert await reader.readline() == b"EHLO lb1.example\r\n"
        writer.write(EHLO)
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"220 go\r\n")
        await writer.drain()
        await writer.start_tls(context)
        assert await reader.readline() == b"EHLO lb1.example\r\n"
        writer.write(b"250 mail.example\r\n")
        assert await reader.readline() == b"QUIT\r\n"
        writer.write(b"221 bye\r\n")
        await writer.drain()

    expired = authority.context("old", names="DNS:mail.example", ends=-2.5 * DAY, begins=-9 * DAY)
    tls = Tls(ca_file="/ca", name="mail.example", starttls=True)
    files = {"/ca": FileText(authority.file.read_bytes())}
    async with serving(serve) as port:
        well = await probe(replace(SMTP, tls=tls), port, files=files)
        wrong = await probe(replace(SMTP, tls=replace(tls, name="x.example")), port, files=files)
        context = expired
        old = await probe(replace(SMTP, tls=tls), port, files=files)

    assert well == good("greeting, STARTTLS and EHLO well")
    assert wrong.detail.startswith("certificate refused: hostname mismatch")
    assert old == answered("certificate expired 2 days ago")


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ([b"220 x\r\n", b"250 HELP\r\n"], "does not offer STARTTLS"),
        ([b"220 x\r\n", EHLO, b"220 go\r\n250 forged\r\n"],
         r"speaks before TLS: '250 forged\r\n'"),
    ],
)  # fmt: skip
async def test_smtp_is_not_content_without_tls(lines: list[bytes], detail: str) -> None:
    async with serving(dialogue(*lines)) as port:
        outcome = await probe(replace(SMTP, tls=Tls(verify=False, starttls=True)), port)

    assert outcome == answered(detail)


# --- steps -------------------------------------------------------------------------------------


async def test_steps_are_taken_in_their_order() -> None:
    quits = steps(("expect", "^220 "), ("send", "QUIT\r\n"), ("expect", "^221 "))
    async with serving(dialogue(b"220-a\r\n220 b\r\n", b"221 bye\r\n")) as port:
        assert await probe(quits, port) == good("dialogue of 3 steps well")


async def test_what_came_before_a_match_is_not_matched_again() -> None:
    twice = steps(("expect", "OK"), ("expect", "OK"), timeout=0.2)
    async with serving(says(b"OK only once\n", stay=True)) as port:
        once = replace(twice, dialogue=Dialogue(steps=(Step(send=b"x"), Step(expect="OK"))))
        assert await probe(once, port) == good("dialogue of 2 steps well")
        asking = replace(
            twice, dialogue=Dialogue(steps=(Step(send=b"x"), Step(expect="OK"), Step(expect="OK")))
        )
        outcome = await probe(asking, port)

    assert outcome == Outcome(Cause.PARTIAL, "/OK/ did not come within 200ms: 13 bytes")


def run(one: base.Conversation, chunks: Iterable[bytes]) -> base.Reply:
    """The first verdict of a conversation, or that of its end."""
    reply = one.opened()
    for chunk in chunks:
        if reply is not None and not isinstance(reply, bytes):
            return reply
        reply = one.received(chunk)
    return reply if reply is not None and not isinstance(reply, bytes) else one.closed()


def verdict(reply: base.Reply) -> Outcome:
    found = reply.outcome if isinstance(reply, base.Parting) else reply
    assert isinstance(found, Outcome)
    return found


def talk(dialogue: Dialogue, pair: bool = False) -> base.Conversation:
    made = replace(check(CheckType.EXPECT), dialogue=dialogue, auth_file=AUTH if pair else None)
    target = Target("t", made, Endpoint(canonical("10.0.1.11"), 1))
    found = Dialogues(SEARCH, FILES).plain(target)
    assert not isinstance(found, Outcome)
    return found


SEARCH = Search()
WANTING = Dialogue(steps=(Step(expect="^220 "),))


@pytest.mark.parametrize(
    ("chunks", "detail"),
    [
        ([b"x" * 9000] * 2, "17 KiB, and no end of /^220 /"),
        ([b"y"] * 600, "513 bytes in 512 pieces, and no end of /^220 /"),
        ([b"\xff\xfe\n"], r"closed before /^220 /, after '\xff\xfe\n'"),
        ([], "closed before /^220 /"),
    ],
)
def test_a_reply_that_never_ends_is_cut_off(chunks: list[bytes], detail: str) -> None:
    assert verdict(run(talk(WANTING), chunks)) == answered(detail)


def test_endless_lines_of_a_lawful_reply_are_cut_off() -> None:
    outcome = verdict(run(talk(Dialogue(preset=Preset.FTP)), [b"220-more\r\n" * 100] * 9))

    assert outcome == answered(f"over {script.REPLIES} replies, and no end of greeting")


def test_an_evil_pattern_costs_its_bound_once_however_the_bytes_come() -> None:
    evil = Dialogue(steps=(Step(expect="(a+)+b"),))

    outcome = verdict(run(talk(evil), [b"a"] * 60))

    assert outcome == answered("reply: /(a+)+b/ was not decided within 20ms")


# --- presets -----------------------------------------------------------------------------------

MYSQL_GREETING = (
    b"\x0a8.0.1\0" + b"\1\0\0\0" + b"saltsalt\0" + b"\xff\xf7\x21\x02\x00\xff\x81\x15"
    + bytes(10) + b"saltsaltsalt\0mysql_native_password\0"
)  # fmt: skip


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes((sequence,)) + payload


BIND_OK = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
ENTRY = b"\x30\x09\x02\x01\x02\x64\x04\x04\x00\x30\x00"
DONE = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00"
NO_SUCH = b"\x30\x0e\x02\x01\x02\x65\x09\x0a\x01\x20\x04\x00\x04\x02no"
GREETING = packet(0, MYSQL_GREETING)
DENIED = packet(2, b"\xff\x15\x04#28000Access denied")
PG_PASSWORD = b"R\0\0\0\x0c\0\0\0\x05salt"
PG_SESSION = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x06aBZ\0\0\0\x05I"


def pg_error(state: str, text: str) -> bytes:
    fields = f"SFATAL\0C{state}\0M{text}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4) + fields


TALKS = [
    (Preset.FTP, False, {}, [b"220 x\r\n", b"221 x\r\n"], good("greeting well")),
    (Preset.FTP, True, {}, [b"220 x\r\n", b"331 x\r\n", b"230 x\r\n", b"221 x\r\n"],
     good("greeting and login well")),
    (Preset.FTP, True, {}, [b"220 x\r\n", b"331 x\r\n", b"530 no\r\n"],
     answered("reply to PASS is '530 no', expected 230 or 202")),
    (Preset.IMAP, False, {}, [b"* OK x\r\n", b"* BYE\r\na2 OK x\r\n"], good("greeting well")),
    (Preset.IMAP, True, {}, [b"* OK x\r\n", b"* CAP\r\na1 NO bad\r\n"],
     answered("reply to LOGIN is 'a1 NO bad', expected OK")),
    (Preset.IMAP, False, {}, [b"* BYE full\r\n"],
     answered("greeting is '* BYE full', expected * OK")),
    (Preset.POP, True, {}, [b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK\r\n"],
     good("greeting and login well")),
    (Preset.POP, False, {}, [b"-ERR x\r\n"], answered("greeting is '-ERR x', expected +OK")),
    (Preset.NNTP, False, {}, [b"201 x\r\n", b"205 x\r\n"], good("greeting well")),
    (Preset.NNTP, True, {}, [b"200 x\r\n", b"381 x\r\n", b"281 x\r\n", b"205 x\r\n"],
     good("greeting and login well")),
    (Preset.REDIS, False, {}, [b"+PONG\r\n"], good("PONG")),
    (Preset.REDIS, True, {}, [b"+OK\r\n", b"+PONG\r\n"], good("PONG")),
    (Preset.REDIS, False, {}, [b"-LOADING x\r\n"],
     answered("reply to PING is '-LOADING x', expected +PONG")),
    (Preset.REDIS, False, {}, [b"-NOAUTH x\r\n"],
     answered("wants a password before PING: add 'auth_file'")),
    (Preset.LDAP, False, {}, [BIND_OK, ENTRY + DONE], good("bind and search well")),
    (Preset.LDAP, True, {"name": "dc=x"}, [BIND_OK[:5], BIND_OK[5:], NO_SUCH],
     answered("search refused, result 32: 'no'")),
    (Preset.LDAP, False, {}, [b"HTTP/1.1 400\r\n"],
     answered(r"not an LDAP answer: 'HTTP/1.1 400\r\n'")),
    (Preset.MYSQL, False, {}, [GREETING, DENIED], good("MySQL 8.0.1 asks for a password")),
    (Preset.MYSQL, False, {"user": "lb"}, [GREETING, DENIED],
     answered("error 1045: 'Access denied'")),
    (Preset.MYSQL, False, {"user": "lb"}, [GREETING, packet(2, b"\0\0\0\2\0\0\0")],
     good("MySQL 8.0.1, login well")),
    (Preset.MYSQL, True, {}, [GREETING, packet(2, b"\xfecaching_sha2_password\0salt\0")],
     answered("wants 'caching_sha2_password', which is not known here")),
    (Preset.MYSQL, False, {}, [packet(0, b"\xff\x69\x04Host blocked")],
     answered("error 1129: 'Host blocked'")),
    (Preset.PGSQL, False, {}, [PG_PASSWORD], good("asks hadirector for a password")),
    (Preset.PGSQL, False, {"user": "lb"}, [PG_SESSION], good("session of lb begins well")),
    (Preset.PGSQL, False, {}, [pg_error("28000", "no pg_hba.conf entry")],
     good("answers 28000: 'no pg_hba.conf entry'")),
    (Preset.PGSQL, False, {"user": "lb"}, [pg_error("28000", "no role")],
     answered("error 28000: 'no role'")),
    (Preset.PGSQL, False, {}, [pg_error("57P03", "starting up")],
     answered("error 57P03: 'starting up'")),
    (Preset.SIP, False, {"transport": Transport.TCP},
     [b"SIP/2.0 100 Trying\r\n\r\n", b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"],
     good("SIP 200")),
    (Preset.SIP, False, {"transport": Transport.TCP}, [b"SIP/2.0 503 Full\r\n\r\n"],
     answered("SIP 503 'Full', expected 2xx")),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "login", "more", "lines", "outcome"), TALKS)
@pytest.mark.parametrize("cut", [1, 10_000])
def test_a_preset_knows_its_protocol(
    preset: Preset,
    login: bool,
    more: dict[str, object],
    lines: list[bytes],
    outcome: Outcome,
    cut: int,
) -> None:
    made = Dialogue(preset=preset, **more)  # type: ignore[arg-type]  # by its fields' names
    chunks = [line[at : at + cut] for line in lines for at in range(0, len(line), cut)]

    found = verdict(run(talk(made, login), chunks))

    assert found == outcome if cut > 1 else found.cause is outcome.cause


@given(
    st.sampled_from(sorted(Preset, key=lambda preset: preset.value)),
    st.booleans(),
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.integers(0, 5),
)
def test_no_bytes_make_a_preset_fail_in_another_way(
    preset: Preset, login: bool, noise: list[bytes], after: int
) -> None:
    if preset is Preset.RADIUS:
        radius = Radius(b"key", Credentials("probe", "s3cret") if login else None)
        for data in noise:
            radius.received(data)
        return
    lawful = next(lines for kind, _, _, lines, _ in TALKS if kind is preset)
    reply = run(talk(Dialogue(preset=preset), login), [*lawful[:after], *noise])
    assert isinstance(reply, Outcome | base.Parting)


async def test_credentials_that_were_not_read_say_nothing_of_the_server() -> None:
    outcome = await probe(asks(Preset.REDIS, login=True), 9)

    assert outcome == Outcome(
        Cause.OURS, f"{AUTH} was not read: mend that, then 'hadirector reload'"
    )


async def test_sip_by_datagram_passes_over_answers_to_others() -> None:
    def serve(data: bytes) -> list[bytes]:
        call = next(line for line in data.split(b"\r\n") if line.startswith(b"Call-ID"))
        return [b"SIP/2.0 500 No\r\nCall-ID: x\r\n\r\n", b"SIP/2.0 200 OK\r\n%s\r\n\r\n" % call]

    asked = asks(Preset.SIP, transport=Transport.UDP)
    async with answering(serve) as port:
        assert await probe(asked, port) == good("SIP 200")


async def test_radius_believes_only_what_is_sealed_with_the_secret() -> None:
    def answer(secret: bytes, code: int) -> dict[str, object]:
        def serve(data: bytes) -> list[bytes]:
            seal = data[22:38]
            blank = data[:22] + bytes(16) + data[38:]
            assert hmac.digest(b"radius key", blank, "md5") == seal
            head = bytes((code, data[1])) + b"\0\x14"
            return [head + hashlib.md5(head + data[4:20] + secret).digest()]

        return {"serve": serve}

    asked = asks(Preset.RADIUS, secret_file=SECRET, transport=Transport.UDP)
    for secret, code, outcome in (
        (b"radius key", 2, good("Access-Accept")),
        (b"radius key", 3, answered("Access-Reject, expected Access-Accept")),
        (b"another", 2, answered("answer is not sealed with our secret: compare 'secret_file'")),
    ):
        serve = answer(secret, code)["serve"]
        async with answering(serve) as port:  # type: ignore[arg-type]  # a dict's value
            assert await probe(asked, port, files=FILES) == outcome
