"""A whole daemon with a virtual MAC, routes by a table's name, and what its status tells."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

CONFIG = """
cluster: shop
nodes:
  lb1: {priority: 150}
vrrp:
  instances:
    front:
      interface: eth0.7
      virtual_router_id: 51
      advert_int: 100ms
      startup_delay: 0s
      vmac: true
      virtual_addresses: [192.0.2.10/24]
      virtual_routes:
        - {to: 203.0.113.0/24, via: 198.51.100.9}
        - {to: 10.0.0.0/8, via: 192.0.2.2, table: main}
"""


@pytest.fixture
def vlan() -> Iterator[None]:
    """An interface with a dot in its name, as VLANs have it."""
    with fresh_namespace():
        run("ip", "link", "add", "eth0.7", "type", "veth", "peer", "name", "far")
        run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0.7")
        run("ip", "link", "set", "eth0.7", "up")
        run("ip", "link", "set", "far", "up")
        yield


def setting(name: str) -> str:
    return Path(f"/proc/sys/net/ipv4/conf/eth0.7/{name}").read_text().strip()


@pytest.mark.usefixtures("vlan")
def test_status_and_events_tell_of_a_refused_route(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        until("it is told", lambda: "via 198.51.100.9" in daemon.run("status").stdout)
        status = daemon.ask()
        assert status is not None
        (trouble,) = [text for text in status["trouble"] if "198.51.100.9" in text]
        assert trouble.startswith(
            "front/ipv4: route 203.0.113.0/24 via 198.51.100.9: the kernel refuses it: "
        )
        router = status["instances"]["front"]["routers"]["ipv4"]
        assert (router["state"], len(router["troubles"])) == ("master", 1)
        assert "route_refused" in daemon.run("events").stdout
        assert "10.0.0.0/8 via 192.0.2.2 dev eth0.7" in run("ip", "route")

        daemon.write(CONFIG.replace("table: main", "table: blue"))
        refused = daemon.run("reload")
        assert refused.returncode != 0
        assert "blue is no routing table of this host" in refused.stdout + refused.stderr


@pytest.mark.usefixtures("vlan")
def test_the_parents_settings_are_on_loan_over_a_kill(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        until("the device is up", lambda: "vrrp.51@eth0.7" in run("ip", "link", "show", "up"))
        until("set", lambda: (setting("arp_ignore"), setting("arp_announce")) == ("1", "2"))
    # Killed: a successor that has no virtual MAC gives back what it did not take.
    with Daemon(tmp_path, CONFIG.replace("vmac: true", "vmac: false")) as daemon:
        until("the device is gone", lambda: "vrrp.51" not in run("ip", "link"))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0
    assert (setting("arp_ignore"), setting("arp_announce")) == ("0", "0")
