"""From a configuration to the kernel: what the real ipvsadm lists then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.cli.main import main
from hadirector.config.load import load
from hadirector.core import plan
from hadirector.core.ipvs import Entry
from hadirector.shell.ipvs import Ipvs
from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.kernel.test_ipvs_views import EVERY_KIND, restore

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]


@pytest.fixture
def ipvs() -> Iterator[Ipvs]:
    with fresh_namespace(), Ipvs() as opened:
        yield opened


async def configure(ipvs: Ipvs, path: Path) -> None:
    """The kernel as a file has it, each server up."""
    loaded = load(str(path), host="lb1")
    assert loaded.config is not None, loaded.problems
    desired = {
        service.key: Entry(
            service,
            {each.endpoint: each.destination(each.weight) for each in virtual.real_servers},
        )
        for virtual in loaded.config.services
        for service in virtual.services
    }
    actual, _ = await ipvs.read()
    assert await ipvs.apply(plan.plan(desired, actual, frozenset(actual))) == ()


async def test_rules_of_ipvsadm_come_back_from_the_kernel_as_they_were_imported(
    ipvs: Ipvs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restore(EVERY_KIND)
    rules = run("ipvsadm", "-Sn")
    run("ipvsadm", "-C")
    (tmp_path / "rules").write_text(rules)
    assert main(["import", "ipvsadm", str(tmp_path / "rules")]) == 0
    (tmp_path / "lb.yaml").write_text(capsys.readouterr().out)

    await configure(ipvs, tmp_path / "lb.yaml")

    assert run("ipvsadm", "-Sn") == rules


async def test_lists_and_ranges_are_services_of_their_own_over_the_same_servers(
    ipvs: Ipvs, tmp_path: Path
) -> None:
    (tmp_path / "lb.yaml").write_text("""
virtual_services:
  web:
    address: [192.0.2.10-12:80, "192.0.2.20:8000-8001"]
    real_servers: [10.0.1.11:8080, 10.0.1.12:8080]
  six: {address: "[2001:db8::e-10]:53", protocol: udp, real_servers: ["2001:db8:1::1"]}
  sip: {address: 192.0.2.10:5060, protocol: udp, persistence: {timeout: 1m, engine: sip},
        real_servers: [10.0.1.11]}
""")

    await configure(ipvs, tmp_path / "lb.yaml")

    listed = run("ipvsadm", "-Sn").splitlines()
    services = [line.split()[2] for line in listed if line.startswith("-A")]
    assert services == [
        *("192.0.2.10:80", "192.0.2.11:80", "192.0.2.12:80"),
        *("192.0.2.20:8000", "192.0.2.20:8001", "192.0.2.10:5060"),
        *("[2001:db8::e]:53", "[2001:db8::f]:53", "[2001:db8::10]:53"),
    ]
    assert listed.count("-a -t 192.0.2.20:8001 -r 10.0.1.12:8080 -m -w 1") == 1
    assert "-A -u 192.0.2.10:5060 -s wlc -p 60 --pe sip" in listed
    assert len([line for line in listed if line.startswith("-a")]) == 5 * 2 + 3 + 1
