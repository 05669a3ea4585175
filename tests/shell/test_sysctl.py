"""Settings on loan, on a directory that stands for /proc/sys."""

from pathlib import Path

import pytest

from hadirector.core.sysctls import Sysctl, for_director
from hadirector.shell.sysctl import Loan, Trouble, read

FORWARD = Sysctl("net.ipv4.ip_forward", "1", "NAT")
THRESHOLD = Sysctl("net.ipv4.vs.sync_threshold", "0 1", "sync")
BUFFER = Sysctl("net.core.rmem_max", "8388608", "sync", raise_only=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, value in (
        ("net/ipv4/ip_forward", "0\n"),
        ("net/ipv4/vs/sync_threshold", "3\t50\n"),
        ("net/core/rmem_max", "212992\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(value)
    return tmp_path


def test_what_is_changed_is_recorded_and_given_back(root: Path) -> None:
    loan = Loan(root=root)

    assert loan.apply([FORWARD, THRESHOLD, BUFFER]) == ()
    assert read("net.ipv4.vs.sync_threshold", root) == "0 1"
    assert read("net.core.rmem_max", root) == "8388608"
    assert loan.recorded == {
        "net.ipv4.ip_forward": "0",
        "net.ipv4.vs.sync_threshold": "3 50",
        "net.core.rmem_max": "212992",
    }

    assert loan.restore() == ()
    assert read("net.ipv4.ip_forward", root) == "0"
    assert read("net.ipv4.vs.sync_threshold", root) == "3 50"
    assert loan.recorded == {}


def test_a_value_that_is_right_already_is_not_ours_to_give_back(root: Path) -> None:
    (root / "net/ipv4/ip_forward").write_text("1\n")
    loan = Loan(root=root)

    assert loan.apply([FORWARD]) == ()
    assert loan.recorded == {}


def test_a_greater_buffer_is_left_alone(root: Path) -> None:
    (root / "net/core/rmem_max").write_text("16777216\n")
    loan = Loan(root=root)

    assert loan.apply([BUFFER]) == ()
    assert read("net.core.rmem_max", root) == "16777216"
    assert loan.recorded == {}


def test_the_first_value_recorded_is_the_one_given_back(root: Path) -> None:
    first = Loan(root=root)
    first.apply([FORWARD])

    second = Loan(first.recorded, root=root)
    second.apply([Sysctl("net.ipv4.ip_forward", "2", "again")])

    assert second.recorded == {"net.ipv4.ip_forward": "0"}


def test_values_are_given_back_from_last_to_first(root: Path) -> None:
    loan = Loan(root=root)
    same_file_by_another_name = Sysctl("net/ipv4/ip_forward", "2", "-")
    loan.apply([FORWARD, same_file_by_another_name])

    assert loan.restore() == ()
    assert read("net.ipv4.ip_forward", root) == "0"


def test_a_missing_setting_is_told_not_raised(root: Path) -> None:
    loan = Loan(root=root)
    absent = Sysctl("net.ipv4.vs.no_such_thing", "1", "-")

    assert loan.apply([absent, FORWARD]) == (
        Trouble(
            "net.ipv4.vs.no_such_thing",
            "this kernel or network namespace has none",
            missing=True,
        ),
    )
    assert read("net.ipv4.ip_forward", root) == "1"


def test_a_setting_that_cannot_be_read_is_told_not_raised(root: Path) -> None:
    loan = Loan(root=root)

    assert loan.apply([Sysctl("net.ipv4", "1", "-")]) == (Trouble("net.ipv4", "Is a directory"),)


def _interface(root: Path, name: str, accept_ra: str, forwarding: str) -> None:
    folder = root / "net/ipv6/conf" / name
    folder.mkdir(parents=True)
    (folder / "accept_ra").write_text(accept_ra + "\n")
    (folder / "forwarding").write_text(forwarding + "\n")


def test_interfaces_that_heed_router_advertisements_are_known_also_once_that_was_changed(
    root: Path,
) -> None:
    for name, accept_ra, forwarding in (
        *(("all", "1", "0"), ("lo", "1", "0"), ("default", "1", "0"), ("eth0.7", "1", "0")),
        *(("eth1", "0", "0"), ("eth2", "1", "1"), ("eth3", "2", "0")),
    ):
        _interface(root, name, accept_ra, forwarding)
    loan = Loan(root=root)
    found = loan.heeding()

    assert found == ("default", "eth0/7")
    assert loan.apply(for_director({6}, found))[0].missing  # this root has no IPVS
    assert read("net.ipv6.conf.eth0/7.accept_ra", root) == "2"
    assert (root / "net/ipv6/conf/eth0.7/accept_ra").read_text() == "2\n"
    assert loan.heeding() == found

    loan.restore()
    assert (root / "net/ipv6/conf/eth0.7/accept_ra").read_text() == "1\n"
    assert (root / "net/ipv6/conf/all/forwarding").read_text() == "0\n"
