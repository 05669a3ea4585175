"""What systemd-networkd and NetworkManager do with our interfaces, by the files they leave in /run
and those they are configured by.

networkd's state is in /run/systemd/netif/links/INDEX, NetworkManager's in
/run/NetworkManager/devices/INDEX. Files of a program that does not run any more say nothing.
"""

import configparser
import socket
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from hadirector.core.doctor.facts import Managed, Managers

NETWORKD, NETWORK_MANAGER = "systemd-networkd", "NetworkManager"
PROGRAMS = (NETWORKD, NETWORK_MANAGER)
_DIRECTORIES = ("etc", "run", "usr/local/lib", "usr/lib")  # the first that has a file counts
_KEEPS = ("yes", "static", "true", "1", "on")  # systemd.network(5), KeepConfiguration=
_NO = ("no", "false", "0", "off")


def look(running: Collection[str], interfaces: Iterable[str], root: Path = Path("/")) -> Managers:
    """`running`: which of PROGRAMS do. OSError as it comes."""
    managed: list[Managed] = []
    for name in interfaces:
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            continue
        if NETWORKD in running:
            managed += _networkd(root, name, index)
        if NETWORK_MANAGER in running:
            managed += _network_manager(root, name, index)
    if NETWORKD not in running:
        return Managers(tuple(managed))
    files = [root / "etc/systemd/networkd.conf", *_drop_ins(root, "networkd.conf.d")]
    settings = _read(files)
    return Managers(
        tuple(managed),
        foreign_rules=settings.get("ManageForeignRoutingPolicyRules", "yes").lower() not in _NO,
        foreign_routes=settings.get("ManageForeignRoutes", "yes").lower() not in _NO,
    )


def _networkd(root: Path, name: str, index: int) -> Iterator[Managed]:
    state = root / f"run/systemd/netif/links/{index}"
    if not state.is_file():
        return
    told = dict(line.split("=", 1) for line in state.read_text().splitlines() if "=" in line)
    file = told.get("NETWORK_FILE", "")
    if not file or told.get("ADMIN_STATE") == "unmanaged":
        return
    path = root / file.lstrip("/")
    settings = _read([path, *_drop_ins(root, f"network/{path.name}.d")])
    keeps = settings.get("KeepConfiguration", "no").lower() in _KEEPS
    yield Managed(NETWORKD, name, keeps, file)


def _network_manager(root: Path, name: str, index: int) -> Iterator[Managed]:
    state = root / f"run/NetworkManager/devices/{index}"
    if state.is_file() and _read([state]).get("managed", "").lower() == "true":
        yield Managed(NETWORK_MANAGER, name, False, str(state))


def _drop_ins(root: Path, directory: str) -> list[Path]:
    """In the order they count; one name in two directories counts in the first only."""
    found: dict[str, Path] = {}
    for place in _DIRECTORIES:
        for path in (root / place / "systemd" / directory).glob("*.conf"):
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def _read(files: Iterable[Path]) -> dict[str, str]:
    """Every key of every section; later files win. Keys told twice (Address=) keep the last."""
    settings: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
        parser.optionxform = str  # type: ignore[assignment]  # as written: the documented way
        try:
            text = path.read_text(errors="replace")
        except FileNotFoundError:
            continue
        try:
            parser.read_string(text)
        except configparser.Error:
            continue  # networkd would complain of it, and it is not ours to
        for section in parser.sections():
            settings |= {key: value or "" for key, value in parser.items(section)}
    return settings
