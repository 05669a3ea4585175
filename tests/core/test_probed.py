"""One place, one probe, for any number of services."""

from dataclasses import replace
from pathlib import Path

from hadirector.core.messages import Health, Probe, Verdict, Verdicts
from hadirector.core.probed import targets_of
from hadirector.core.services import Services
from hadirector.core.settings.cluster import Config
from tests.config.files import config_of

CHECKS = """
checks:
  page: {type: http, path: /healthz}
  app: {type: http, port: 8081}
  alive: {type: ping}
  gate: {type: tcp, connect: "10.9.9.9:22"}
  script: {type: exec, command: [/bin/true]}
"""


def farm(folder: Path, services: int, hosts: int, check: str, many_ports: bool = True) -> Config:
    text = f"cluster: c\nnodes: {{lb1: {{}}}}\n{CHECKS}\nvirtual_services:\n"
    for n in range(services):
        port = 10_000 + n if many_ports else 80
        servers = ", ".join(f"10.0.1.{h}:{port}" for h in range(1, hosts + 1))
        text += f"  s{n}: {{address: 192.0.2.10:{20_000 + n}, check: {check}, "
        text += f"real_servers: [{servers}]}}\n"
    return config_of(folder, text)


def counted(folder: Path, check: str, many_ports: bool = True) -> int:
    return len(targets_of(farm(folder, 50, 10, check, many_ports)).targets)


def verdict(target: str, health: Health, detail: str = "refused") -> Verdict:
    ok = health is Health.UP
    return Verdict(target, health, 1.0, Probe(ok, True, detail, 1.0, 1.0))


def test_five_hundred_services_on_ten_hosts_with_one_check_port_are_ten_probes(
    tmp_path: Path,
) -> None:
    config = farm(tmp_path, 500, 10, "app")

    probed = targets_of(config)

    assert sorted(probed.targets) == sorted(f"app@10.0.1.{h}:8081" for h in range(1, 11))
    assert all(len(users) == 500 for users in probed.users.values())


def test_five_hundred_services_that_share_their_servers_are_ten_probes(tmp_path: Path) -> None:
    assert len(targets_of(farm(tmp_path, 500, 10, "page", many_ports=False)).targets) == 10


def test_what_is_asked_at_each_servers_own_port_is_asked_there(tmp_path: Path) -> None:
    assert counted(tmp_path, "page") == 500


def test_a_ping_knows_no_ports_and_a_fixed_place_no_servers(tmp_path: Path) -> None:
    assert counted(tmp_path, "alive") == 10
    assert counted(tmp_path, "gate") == 1


def test_a_program_is_told_its_server_and_so_run_for_each(tmp_path: Path) -> None:
    assert counted(tmp_path, "script") == 500


def test_one_verdict_decides_all_the_services_that_ask_for_it(tmp_path: Path) -> None:
    services = Services()
    services.configure(farm(tmp_path, 500, 10, "app"), {}, 0.0)
    ups = tuple(verdict(f"app@10.0.1.{h}:8081", Health.UP, "200 OK") for h in range(1, 11))
    services.hear(Verdicts(ups, whole=True), 1.0)

    keys, changes = services.hear(
        Verdicts((verdict("app@10.0.1.3:8081", Health.DOWN),), whole=False), 2.0
    )

    assert len(keys) == 500
    assert {change.kind for change in changes} == {"server_down", "service_state"}
    assert all(weights.up == 9 for weights in services.weights.values())


def test_a_service_that_joins_knows_at_once_what_the_others_know(tmp_path: Path) -> None:
    services = Services()
    services.configure(farm(tmp_path, 1, 2, "app"), {}, 0.0)
    services.hear(Verdicts((verdict("app@10.0.1.1:8081", Health.UP),), whole=True), 1.0)

    services.configure(farm(tmp_path, 2, 2, "app"), {}, 2.0)

    assert [weights.up for weights in services.weights.values()] == [1, 1]


def test_what_nobody_asked_for_is_not_heard(tmp_path: Path) -> None:
    services = Services()
    services.configure(farm(tmp_path, 1, 1, "app"), {}, 0.0)

    assert services.hear(Verdicts((verdict("x@10.0.1.1:8081", Health.UP),), False), 1.0) == (
        set(),
        [],
    )


def test_a_verdict_is_found_by_its_target_and_by_each_server_it_is_for(tmp_path: Path) -> None:
    services = Services()
    services.configure(farm(tmp_path, 2, 1, "app"), {}, 0.0)
    up = verdict("app@10.0.1.1:8081", Health.UP)

    services.hear(Verdicts((up,), whole=True), 1.0)

    names = ("app@10.0.1.1:8081", "app@10.0.1.1:10000", "app@10.0.1.1:10001")
    assert services.verdicts == dict.fromkeys(names, up)


def test_a_service_whose_weights_alone_changed_asks_for_the_very_same(tmp_path: Path) -> None:
    config = farm(tmp_path, 3, 10, "page")
    first, *others = config.services
    heavier = replace(first.real_servers[0], weight=7)
    edited = replace(first, real_servers=(heavier, *first.real_servers[1:]))
    before = targets_of(config)

    after = targets_of(replace(config, services=(edited, *others)), before)

    assert after.targets is before.targets


def test_following_another_configuration_finds_what_a_fresh_look_finds(tmp_path: Path) -> None:
    known = targets_of(farm(tmp_path, 3, 10, "page"))
    for config in (
        farm(tmp_path, 3, 9, "page"),
        farm(tmp_path, 2, 10, "app"),
        farm(tmp_path, 4, 2, "alive"),
        farm(tmp_path, 4, 2, "gate"),
    ):
        fresh, known = targets_of(config), targets_of(config, known)

        assert (known.targets, known.users, known.heard_by) == (
            fresh.targets,
            fresh.users,
            fresh.heard_by,
        )


def test_a_check_that_asks_elsewhere_now_is_noticed_in_a_service_that_did_not_change(
    tmp_path: Path,
) -> None:
    config = farm(tmp_path, 1, 2, "app")
    moved = [replace(c, port=9090) if c.name == "app" else c for c in config.checks]

    after = targets_of(replace(config, checks=tuple(moved)), targets_of(config))

    assert sorted(after.targets) == ["app@10.0.1.1:9090", "app@10.0.1.2:9090"]
