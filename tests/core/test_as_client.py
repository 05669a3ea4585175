"""Checks as a client: the paths of their probes through IPVS, and what the checker is lent."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from hadirector.core import as_client, ipvs
from hadirector.core import director_events as ev
from hadirector.core.address import Endpoint, canonical
from hadirector.core.checker_messages import Lend
from hadirector.core.director import Director
from hadirector.core.messages import Hello, Process
from hadirector.core.probed import targets_of
from hadirector.core.services import Services
from hadirector.core.settings.cluster import Config
from tests.config.files import config_of, told

HEAD = "nodes: {lb1: {}}\nchecks:\n  seen: {type: http, as_client: true}\n  port: {type: tcp}\n"
SERVERS = "real_servers: [192.0.2.11:80, 192.0.2.12:80]"


def shop(folder: Path, service: str) -> Config:
    return config_of(folder, f"{HEAD}virtual_services:\n  web: {{{service}}}\n")


def mistakes(folder: Path, service: str) -> list[str]:
    text = f"{HEAD}virtual_services:\n  web: {{{service}}}\n"
    return [line for line in told(folder, text) if " error: " in line]


def test_each_server_has_an_ipvs_service_of_its_own_by_mark(tmp_path: Path) -> None:
    config = shop(tmp_path, f"address: 192.0.2.10:80, forward: dr, check: seen, {SERVERS}")

    paths = as_client.paths_of(config)

    assert len({path.mark for path in paths}) == 2
    key, entry = paths[0].entry
    assert key.fwmark == paths[0].mark
    assert as_client.MARKS <= key.fwmark < as_client.MARKS + 65_536
    ((server, destination),) = entry.destinations.items()
    assert server == Endpoint(canonical("192.0.2.11"), 0)
    assert (destination.forward, destination.weight) == (ipvs.Forward.DR, 1)


def test_the_services_want_these_in_the_kernel_beside_their_own(tmp_path: Path) -> None:
    config = shop(tmp_path, f"address: 192.0.2.10:80, forward: dr, check: seen, {SERVERS}")
    services = Services()

    services.configure(config, {}, 0.0)

    assert sorted(bool(key.fwmark) for key in services.entries) == [False, True, True]


def test_a_target_goes_to_the_server_and_asks_at_the_virtual_address(tmp_path: Path) -> None:
    config = shop(tmp_path, f"address: 192.0.2.10:80, forward: dr, check: seen, {SERVERS}")

    targets = targets_of(config).targets

    assert [str(t.endpoint) for t in targets.values()] == ["192.0.2.11:80", "192.0.2.12:80"]
    assert {str(t.check.client) for t in targets.values()} == {"192.0.2.10:80"}
    assert not any(t.check.held for t in targets.values())


def test_marks_stay_when_servers_come_and_go(tmp_path: Path) -> None:
    def marks(servers: str) -> dict[str, int]:
        text = f"address: 192.0.2.10:80, forward: dr, check: seen, real_servers: [{servers}]"
        return {p.target: p.mark for p in as_client.paths_of(shop(tmp_path, text))}

    before, after = marks("192.0.2.11:80, 192.0.2.12:80"), marks("192.0.2.12:80, 192.0.2.13:80")

    assert [after[name] for name in before if name in after] == [
        before[name] for name in before if name in after
    ]


def test_every_virtual_address_of_a_service_is_asked_at(tmp_path: Path) -> None:
    text = f"address: ['192.0.2.10:80-81', '192.0.2.20:80'], forward: dr, check: seen, {SERVERS}"
    config = shop(tmp_path, text.replace("80-81", "80"))

    assert config.services[0].check.checks == ("seen at 192.0.2.10:80", "seen at 192.0.2.20:80")
    assert len(targets_of(config).targets) == 4


def test_what_is_lent_goes_in_messages_of_bounded_size(tmp_path: Path) -> None:
    servers = ", ".join(f"192.0.2.{n}:80" for n in range(1, 251))
    text = f"address: 198.51.100.10:80, forward: dr, check: seen, real_servers: [{servers}]"
    paths = as_client.paths_of(shop(tmp_path, text))

    loans = as_client.loans(paths)

    assert [len(lend.targets) for lend in loans] == [100, 100, 50]
    assert loans[0] == Lend(
        tuple(p.target for p in paths[:100]),
        tuple(p.mark for p in paths[:100]),
        (4,) * 100,
        (2,) * 100,
    )


def test_a_tunnel_may_lead_far(tmp_path: Path) -> None:
    config = shop(tmp_path, f"address: 192.0.2.10:80, forward: tun, check: seen, {SERVERS}")

    assert [path.hops for path in as_client.paths_of(config)] == [0, 0]


def test_sockets_are_lent_once_the_kernel_has_the_services_that_lead_to_the_servers(
    tmp_path: Path,
) -> None:
    def lent(actions: Iterable[ev.Action]) -> int:
        sent = [a.message for a in actions if isinstance(a, ev.Send)]
        return sum(len(message.targets) for message in sent if isinstance(message, Lend))

    config = shop(tmp_path, f"address: 192.0.2.10:80, forward: dr, check: seen, {SERVERS}")
    director = Director("1", frozenset(), 0.0)
    configured = director.handle(ev.Configured(config), 0.0)
    read = director.handle(ev.KernelRead({}, ipvs.Usage(), 0.01), 0.1)
    paths = as_client.paths_of(config)

    one_is_refused = director.handle(
        ev.Applied(frozenset(p.key for p in paths), ((paths[0].key, "no"),)), 0.2
    )
    table = dict(director.services.entries)
    again = director.handle(ev.KernelRead(table, ipvs.Usage(), 0.01), 0.7)
    checker = ev.From(Process.CHECKER, Hello(Process.CHECKER, 1), float("inf"))
    restarted = director.handle(checker, 0.8)

    counts = [lent(a) for a in (configured, read, one_is_refused, again, restarted)]
    assert counts == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (
            "address: 192.0.2.10:80, forward: nat",
            "seen probes as a client, for 'forward: dr' or tun: by nat a plain check does it",
        ),
        (
            "address: {fwmark: 7}, forward: dr",
            "seen probes as a client, by TCP: this service is fwmark",
        ),
        (
            "address: 192.0.2.10:80, protocol: udp, forward: dr",
            "seen probes as a client, by TCP: this service is udp",
        ),
    ],
)
def test_where_it_cannot_be_the_fix_is_told(tmp_path: Path, service: str, text: str) -> None:
    found = mistakes(tmp_path, f"{service}, check: seen, {SERVERS}")

    assert any(text in line for line in found), found


def test_a_check_as_a_client_goes_nowhere_else(tmp_path: Path) -> None:
    found = told(tmp_path, "checks: {c: {type: tcp, as_client: true, port: 81}}\n")

    assert any("goes to the virtual address and its port: remove 'port'" in line for line in found)
