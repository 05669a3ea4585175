"""What a daemon puts into the kernel, put there and taken out again by the shipped unit's user.

The unit file is read for the capabilities; `nobody` stands for its user where the checkout can be
read by others, else root without root's powers (the same set, and no file of another's).
"""

import os
import re
import stat
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "conf/systemd/hadirector.service"
NOBODY = 65534
CONFIG = """
cluster: shop
api: {http: 127.0.0.1:9180}
nodes:
  lb1: {priority: 150}
vrrp:
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      advert_int: 100ms
      startup_delay: 0s
      vmac: true
      accept: false
      virtual_addresses: [192.0.2.10/24, "2001:db8::10/64"]
      virtual_routes: [{to: 203.0.113.0/24, via: 192.0.2.2}]
      virtual_rules: [{from: 192.0.2.10, table: 100, priority: 1000}]
connection_sync: {interface: eth0, sync_id: 51, transport: authenticated}
timeouts: {tcp: 7m}
checks:
  port: {type: tcp, interval: 200ms, timeout: 100ms, port: 8000}
virtual_services:
  web: {address: 192.0.2.10:80, forward: nat, check: port, real_servers: [192.0.2.1:8000]}
"""


@pytest.fixture
def wire() -> Iterator[None]:
    with fresh_namespace():
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
        run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
        run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
        run("sysctl", "-qw", "net.ipv4.conf.eth0.promote_secondaries=0")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "link", "set", "far", "up")
        yield


def as_the_unit(*more: str) -> tuple[str, ...]:
    """A command that runs another one as systemd would by the unit file, and with `more`
    capabilities."""
    text = UNIT.read_text()
    (ambient,) = re.findall(r"^AmbientCapabilities=(.*)$", text, re.M)
    (bounding,) = re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.M)
    assert "NoNewPrivileges=yes" in text
    kept, bound = (
        ",".join(["-all", *(f"+{n.removeprefix('CAP_').lower()}" for n in (*names.split(), *more))])
        for names in (ambient, bounding)
    )
    user = NOBODY if _others_may_read(Path(sys.executable).parent) else 0
    return (
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
        f"--bounding-set={bound}",
        "--securebits=+noroot,+noroot_locked",
        "--no-new-privs",
    )


def _others_may_read(folder: Path) -> bool:
    return all(above.stat().st_mode & stat.S_IXOTH for above in (folder, *folder.parents))


def _kernel() -> str:
    """All that the configuration puts there."""
    commands = (
        ("ip", "-o", "address"),
        ("ip", "route"),
        ("ip", "rule"),
        ("ip", "xfrm", "policy"),
        ("sysctl", "net.ipv4.conf.eth0.promote_secondaries"),
        ("ipvsadm", "-Sn"),
        ("ipvsadm", "-L", "--daemon"),
        ("ipvsadm", "-L", "--timeout"),
    )
    return "\n".join(run(*command) for command in commands).replace(" tentative", "")


def _relays(daemon: Daemon) -> bool:
    """Whether its relay has the sockets that it needs: who has none sends no beat."""
    sockets = run("ss", "-Hlnup", "sport", "=", ":8848")
    told = daemon.ask()
    return bool(sockets) and told is not None and told["sync"]["relay"] is not None


def _unguarded(daemon: Daemon) -> object:
    told = daemon.ask()
    if told is None or told["sync"]["relay"] is None:
        return "not told yet"
    return told["sync"]["unguarded"]


@pytest.mark.usefixtures("wire")
def test_the_units_user_puts_everything_in_place_and_takes_it_out_again(tmp_path: Path) -> None:
    before = _kernel()
    tmp_path.chmod(0o755)
    folder = tmp_path / "lb1"
    folder.mkdir()
    keys = folder / "keys"
    keys.write_text(f"1 {'5a' * 32}\n")
    for mine_now in (folder, keys):
        os.chown(mine_now, NOBODY, NOBODY)
    for above in tmp_path.parents[:2]:
        above.chmod(0o755)
    with Daemon(folder, f"key_file: {keys}\n{CONFIG}", within=as_the_unit()) as daemon:
        assert daemon.process is not None
        mine = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert re.search(r"^CapEff:\s+0*803000$", mine, re.M), mine  # net_admin, net_raw, sys_nice
        for what in (
            "vrrp.51    inet 192.0.2.10/32",
            "2001:db8::10/128",
            "203.0.113.0/24 via 192.0.2.2",
            "from 192.0.2.10 lookup 100",
            "action block",
            "eth0.promote_secondaries = 1",
            "-A -t 192.0.2.10:80 -s",
            "master sync daemon (mcast=hadirector-sync, syncid=51",
            "169.254.88.1/32",
            "Timeout (tcp tcpfin udp): 420",
        ):
            until(what, lambda what=what: what in _kernel())  # type: ignore[misc]  # bound defaults
        until("the relay listens", lambda: _relays(daemon))
        with urllib.request.urlopen("http://127.0.0.1:9180/metrics", timeout=10) as metrics:
            said = metrics.read().decode()
        assert 'router_state{instance="front",family="ipv4",state="master"} 1' in said
        assert said.endswith("# EOF\n")
        status = daemon.ask()
        assert status is not None
        assert [line for line in status["trouble"] if "ermi" in line] == []  # Permission denied
        assert "without CAP_BPF" in status["sync"]["unguarded"]
        assert f"warning: {status['sync']['unguarded']}" in daemon.run("sync").stdout
        daemon.kill()
    with_bpf = as_the_unit("cap_39")
    with Daemon(folder, f"key_file: {keys}\n{CONFIG}", within=with_bpf) as daemon:
        until("master again", lambda: "192.0.2.10/32" in _kernel())
        guard = ("tc", "filter", "show", "dev", "hadirector-sync", "egress")
        until("what leaves is guarded, too", lambda: "hadirector" in run(*guard))
        until("and nothing is told to be open", lambda: _unguarded(daemon) is None)
        assert daemon.stop() == 0  # and gives back what the one that was killed had borrowed
    after = _kernel()
    assert "192.0.2.10" not in after
    for line in ("203.0.113.0/24", "lookup 100", "action block", "sync daemon"):
        assert line not in after
    assert after == before
