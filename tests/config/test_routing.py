"""Routes, rules and virtual MACs in the configuration: what they mean, and their mistakes."""

from pathlib import Path

import pytest

from hadirector.config import routing
from hadirector.config.load import load
from hadirector.core.settings.instances import VirtualRoute, VirtualRule
from tests.config.files import CONF, config_of, load_text

HEAD = """\
nodes: {lb1: {address: 198.51.100.1, priority: 150}, lb2: {address: 198.51.100.2, priority: 90}}
vrrp:
  instances:
    front:
      interface: {lb1: eth0, lb2: ens3}
      priority: {lb1: 150, lb2: 100}
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10/24]
"""


def told(folder: Path, text: str) -> list[str]:
    """Every problem, without its line."""
    return [f"{p.severity.value}: {p.text}" for p in load_text(folder, HEAD + text, "lb1").problems]


def route(text: str) -> str:
    return f"      virtual_routes: [{{{text}}}]\n"


def test_interfaces_and_priorities_are_each_nodes_own(tmp_path: Path) -> None:
    text = HEAD + route("to: default, via: 192.0.2.1, interface: {lb1: eth1, lb2: ens4}")

    found = {node: config_of(tmp_path, text, node).instances[0] for node in ("lb1", "lb2")}

    assert {n: (i.interface, i.priority) for n, i in found.items()} == {
        "lb1": ("eth0", 150),
        "lb2": ("ens3", 100),
    }
    homes = {node: i.virtual_addresses[0].interface for node, i in found.items()}
    assert homes == {"lb1": "eth0", "lb2": "ens3"}
    ways = {node: i.virtual_routes[0].interface for node, i in found.items()}
    assert ways == {"lb1": "eth1", "lb2": "ens4"}


def test_onlink_and_tables_by_number_and_by_their_reserved_names(tmp_path: Path) -> None:
    text = HEAD + (
        "      virtual_routes:\n"
        "        - {to: 203.0.113.0/24, via: 203.0.113.1, interface: eth0, onlink: true}\n"
        "        - {to: default, interface: eth0, table: 4000000000}\n"
        "        - {to: 10.0.0.0/8, interface: eth0, table: default}\n"
        "      virtual_rules: [{to: 10.0.0.0/8, table: main}]\n"
    )

    front = config_of(tmp_path, text, "lb1").instances[0]

    first, *others = front.virtual_routes
    assert first.onlink
    assert others == [
        VirtualRoute("default", None, "eth0", None, 4000000000, None),
        VirtualRoute("10.0.0.0/8", None, "eth0", None, 253, None),
    ]
    assert front.virtual_rules == (VirtualRule(None, "10.0.0.0/8", 254, None),)


def test_a_name_is_looked_up_where_the_daemon_runs_and_taken_unseen_by_check(
    tmp_path: Path,
) -> None:
    path = tmp_path / "main.yaml"
    path.write_text(HEAD + route("to: default, interface: eth0, table: blue"))

    here = load(str(path), "lb1", tables={"main": 254, "blue": 100})
    elsewhere = load(str(path), "lb1", tables={"main": 254, "local": 255})
    unseen = load(str(path), "lb1")

    assert here.config is not None
    assert here.config.instances[0].virtual_routes[0].table == 100
    (problem,) = elsewhere.problems
    assert problem.text == (
        "vrrp.instances.front.virtual_routes.table: blue is no routing table of this host (those "
        "are local, main): add '100 blue' to /etc/iproute2/rt_tables, or write its number"
    )
    assert (problem.line, problem.column) == (9, 62)
    assert unseen.config is not None
    assert unseen.problems == ()


def test_names_are_read_as_iproute2_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "etc/iproute2"
    (folder / "rt_tables.d").mkdir(parents=True)
    (folder / "rt_tables").write_text(
        "# reserved\n255\tlocal\n100 blue # ours\n0x65 hex\nnonsense\n7\n\xff 3\n"
    )
    (folder / "rt_tables.d/site.conf").write_text("200  green\n101 blue\n")
    (folder / "rt_tables.d/README").write_text("300 red\n")

    assert routing.read_tables(tmp_path) == {
        **{"local": 255, "main": 254, "default": 253},
        **{"blue": 101, "hex": 101, "green": 200},
    }
    assert routing.read_tables(tmp_path / "nowhere")["main"] == 254


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "to: 2001:db8:1::/48, via: 192.0.2.1",
            "mixes IPv4 and IPv6: write one of each",
        ),
        (
            "to: '2001:db8:1::/48', interface: eth0",
            "is IPv6, and the instance has no IPv6 address to move with: add one",
        ),
        (
            "to: 10.0.0.0/8, via: 192.0.2.1, onlink: true",
            "says that the gateway is on the interface: name both, 'via' and 'interface'",
        ),
        ("to: 10.0.0.0/8", "leads nowhere: add 'via: ADDRESS' or 'interface: NAME'"),
        (
            "to: 10.0.0.0/8, interface: eth0, table: 0",
            "0 is out of range for a routing table: 1 to 4294967295",
        ),
    ],
)
def test_a_mistake_in_a_route_is_told_with_the_fix(tmp_path: Path, text: str, problem: str) -> None:
    (line,) = told(tmp_path, route(text))

    assert line.startswith("error: vrrp.instances.front.virtual_routes")
    assert line.endswith(f": {problem}")


def test_a_rule_of_a_family_nobody_holds_is_told(tmp_path: Path) -> None:
    (line,) = told(tmp_path, "      virtual_rules: [{from: '2001:db8::/32', table: 100}]\n")

    assert line.endswith("is IPv6, and the instance has no IPv6 address to move with: add one")


OTHER = """\
      vmac: true
    back:
      interface: eth1
      virtual_router_id: 51
      virtual_addresses: [192.0.3.10/24]
      vmac: true
"""


def test_two_virtual_macs_of_one_number_on_two_interfaces_are_told(tmp_path: Path) -> None:
    assert told(tmp_path, OTHER) == [
        "error: vrrp.instances.back.vmac: its device would be named as that of front, which has "
        "the same virtual_router_id on another interface: take another number"
    ]
    assert told(tmp_path, OTHER.replace("vmac: true", "vmac: false")) == []


def test_the_examples_mean_what_they_say() -> None:
    routed = load(str(CONF / "policy-routing.yaml"), "lb2").config
    virtual = load(str(CONF / "vmac.yaml"), "lb1").config
    silent = load(str(CONF / "silent-address.yaml"), "lb1").config

    assert routed is not None
    assert [r.interface for r in routed.instances[0].virtual_routes] == ["ens3", None]
    assert len(routed.instances[0].virtual_rules) == 1
    assert virtual is not None
    assert virtual.instances[0].vmac
    assert silent is not None
    assert not silent.instances[0].accept
