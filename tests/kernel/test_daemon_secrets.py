"""A whole daemon and its key file: missing, mended, spoilt, exposed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

CONFIG = """
key_file: {keys}
nodes:
  lb1: {{priority: 150}}
vrrp:
  defaults: {{advert_int: 100ms}}
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10/24]
      startup_delay: 0
      preempt: always
      authentication: {how}
"""
KEY = "a1b2" * 16


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Path]:
    """Where the key file will be, in a namespace with an eth0."""
    with fresh_namespace():
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        run("ip", "link", "set", "eth1", "up")
        run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        yield tmp_path / "cluster.key"


def write(keys: Path, text: str, mode: int = 0o640) -> None:
    keys.write_text(text)
    keys.chmod(mode)


def router(daemon: Daemon) -> dict[str, Any]:
    told = daemon.ask()
    assert told is not None
    found: dict[str, Any] = told["instances"]["front"]["routers"].get("ipv4", {})
    return found


def test_a_missing_key_is_a_fault_that_a_reload_ends_and_a_spoilt_one_changes_nothing(
    keys: Path, tmp_path: Path
) -> None:
    with Daemon(tmp_path, CONFIG.format(keys=keys, how="hmac")) as daemon:
        until("the fault is told", lambda: router(daemon).get("state") == "fault")
        assert router(daemon)["reason"] == (
            f"no key for its adverts: {keys}: No such file or directory; mend that, then "
            "'hadirector reload'"
        )
        assert f"secrets: {keys}: No such file or directory" in str(daemon.ask())
        assert router(daemon)["counters"]["advert_sent"] == 0

        write(keys, f"1 {KEY}\n", 0o644)
        assert daemon.run("reload").returncode == 0
        until("it is master", lambda: router(daemon)["state"] == "master")
        told = daemon.ask()
        assert told is not None
        exposed = f"secrets: {keys}: everybody on this machine can reach it (mode 0644)"
        assert [line for line in told["trouble"] if line.startswith(exposed)] != []

        write(keys, f"1 {KEY}\n2 {KEY[:-2]}zz\n")
        daemon.write(CONFIG.format(keys=keys, how="none"))
        refused = daemon.run("reload")
        assert refused.returncode == 1
        assert f"{keys}:2: the key is not hex" in refused.stdout + refused.stderr
        assert KEY[:16] not in refused.stdout + refused.stderr
        kept = daemon.ask()
        assert kept is not None
        assert kept["config"]["digest"] == told["config"]["digest"]

        pid = daemon.pid("director")
        assert daemon.run("restart-director").returncode == 0
        until("a new director", lambda: daemon.pid("director") not in (0, pid))
        until("it knows the routers", lambda: router(daemon).get("state") == "master")
        assert f"secrets: {keys}:2: the key is not hex" in str(daemon.ask())

        write(keys, f"2 {KEY[::-1]}\n1 {KEY}\n")
        daemon.write(CONFIG.format(keys=keys, how="hmac"))
        assert daemon.run("reload").returncode == 0
        assert router(daemon)["state"] == "master"
        assert router(daemon)["counters"]["become_master"] == 1
        assert daemon.stop() == 0

    for file in (daemon.log, *(tmp_path / "run").rglob("*"), *(tmp_path / "state").rglob("*")):
        if file.is_file():
            assert KEY[:16].encode() not in file.read_bytes(), file


def test_a_password_file_is_read_and_shown_nowhere(keys: Path, tmp_path: Path) -> None:
    word = tmp_path / "word"
    write(word, "hunter2hunter2\n")
    write(keys, f"1 {KEY}\n")
    text = CONFIG.format(keys=keys, how=f"{{pass: {word}}}").replace("100ms", "1s")
    with Daemon(tmp_path, text.replace("defaults: {", "defaults: {version: 2, ")) as daemon:
        until("it is master", lambda: router(daemon).get("state") == "master")
        assert "hunter2" not in str(daemon.ask()) + daemon.run("explain").stdout
        assert daemon.stop() == 0

    assert "hunter2" not in daemon.log.read_text()
