"""What networkd and NetworkManager leave in files, read from a tree of our own."""

import socket
from pathlib import Path

import pytest

from hadirector.core.doctor.facts import Managed, Managers
from hadirector.shell.doctor import managers

LO = socket.if_nametoindex("lo")
FILE = "/etc/systemd/network/10-lo.network"


def write(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, f"run/systemd/netif/links/{LO}", f"ADMIN_STATE=configured\nNETWORK_FILE={FILE}")
    write(tmp_path, FILE[1:], "[Match]\nName=lo\n[Network]\nAddress=10.0.0.1/8\nAddress=10.1.0.1/8")
    return tmp_path


def look(root: Path, *running: str) -> Managers:
    return managers.look(running, ["lo", "no-such-link"], root)


def test_networkd_takes_addresses_of_others_unless_told_to_keep_them(root: Path) -> None:
    taken = Managed("systemd-networkd", "lo", False, FILE)
    assert look(root, "systemd-networkd") == Managers((taken,), True, True)

    write(root, f"{FILE[1:]}.d/keep.conf", "[Network]\nKeepConfiguration=static\n")
    write(root, "run/systemd/networkd.conf.d/x.conf", "[Network]\nManageForeignRoutes=no\n")

    kept = Managed("systemd-networkd", "lo", True, FILE)
    assert look(root, "systemd-networkd") == Managers((kept,), True, False)


def test_files_of_a_networkd_that_does_not_run_say_nothing(root: Path) -> None:
    assert look(root) == Managers()


def test_a_link_networkd_does_not_manage_is_nobodys(root: Path) -> None:
    write(root, f"run/systemd/netif/links/{LO}", f"ADMIN_STATE=unmanaged\nNETWORK_FILE={FILE}")

    assert look(root, "systemd-networkd").managed == ()


@pytest.mark.parametrize(("managed", "count"), [("true", 1), ("false", 0)])
def test_networkmanager_says_what_it_manages(root: Path, managed: str, count: int) -> None:
    write(root, f"run/NetworkManager/devices/{LO}", f"[device]\nmanaged={managed}\n")

    assert len(look(root, "NetworkManager").managed) == count


def test_a_file_that_is_no_configuration_is_passed_over(root: Path) -> None:
    write(root, FILE[1:], "= nonsense\n[")

    assert look(root, "systemd-networkd").managed[0].keeps is False
