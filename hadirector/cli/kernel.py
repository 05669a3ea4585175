"""Verbs about the kernel's IPVS table: `ipvs`, `export ipvsadm`; `plan` and `pause` in cli/plan.

The table is read from the kernel where that is allowed (root), as ipvsadm does; else, or with
--socket, the daemon is asked. What changes something (--zero) goes to the daemon, and to the
kernel only where there is none.
"""

import argparse
import asyncio
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from hadirector.cli import live, plan
from hadirector.cli.listen import address
from hadirector.core import ipvs_connections, ipvs_text, ipvs_view, ipvsadm_order, ipvsadm_rules
from hadirector.core.errors import HadirectorError
from hadirector.core.ipvs import ServiceKey
from hadirector.core.ipvs_text import Style, View
from hadirector.core.ipvs_view import IpvsView, Names, ServiceView
from hadirector.shell.netlink import KernelError

if TYPE_CHECKING:
    from hadirector.core.ipvs_connections import Connection

_NAMES_DEADLINE = 1.0  # seconds: without the daemon's names the table is still worth showing
_IPVS_DEADLINE = 20.0  # seconds: a table of 37,000 servers

_SERVICE = """\
SERVICE is a name of the configuration, an address with or without its port (192.0.2.10:80,
"[2001:db8::10]:80"), the same after a protocol (udp/192.0.2.10:53), or a mark (7)."""

_IPVS = f"""\
Shown is what `ipvsadm -L -n` shows, with the names of the configuration behind a #; a service
that is not in it is marked "{ipvs_view.FOREIGN}". {_SERVICE}
Exit status: 0 fine; 1 neither the kernel nor the daemon answers, or no such service."""

_EXPORT = """\
What `ipvsadm --restore` reads: as ipvsadm-save -n writes it, and the thresholds, which that
leaves out."""


class Refused(HadirectorError):
    """What was asked for is not there, or was refused."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these verbs."""
    plan.add_parser(verbs)
    parser = verbs.add_parser(
        "ipvs",
        help="the kernel's table: services, servers, counters, connections",
        description="The kernel's IPVS table.",
        epilog=_IPVS,
    )
    _add_ipvs(parser)
    _add_source(parser)
    parser.set_defaults(run=_guarded(show))
    parser = verbs.add_parser(
        "export",
        help="the kernel's table as rules of ipvsadm",
        description="The kernel's IPVS table in another program's language.",
        epilog=_EXPORT,
    )
    parser.add_argument("format", choices=("ipvsadm",))
    parser.add_argument("service", nargs="?", default="", metavar="SERVICE", help="only this one")
    _add_source(parser)
    parser.set_defaults(run=_guarded(export))


def _add_ipvs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", nargs="?", default="", metavar="SERVICE", help="only this one")
    shown = parser.add_mutually_exclusive_group()
    for view, text in (
        (View.STATS, "totals since the last --zero"),
        (View.RATE, "per second"),
        (View.THRESHOLDS, "limits of connections"),
        (View.PERSISTENT, "clients bound to servers; of connections: engines and their data"),
        (View.TUNNELS, "how packets are wrapped"),
    ):
        shown.add_argument(
            f"--{view.value}", dest="view", action="store_const", const=view, help=text
        )
    parser.add_argument("-c", "--connections", action="store_true", help="each connection")
    text = "of --connections, only this client's"
    parser.add_argument("--client", metavar="ADDRESS", type=address, help=text)
    parser.add_argument("--timeouts", action="store_true", help="of idle connections, in seconds")
    parser.add_argument("--daemon", action="store_true", help="connection sync threads")
    parser.add_argument("--zero", action="store_true", help="set the counters to zero")
    parser.add_argument("--exact", action="store_true", help="no K, M, G and T")
    text = f"{', '.join(ipvs_view.ORDERS)} (default: address); greatest first"
    parser.add_argument(
        "--sort",
        choices=ipvs_view.ORDERS,
        nargs="?",
        const="address",
        default="address",
        metavar="BY",
        help=text,
    )
    text = "byte for byte what ipvsadm -L -n prints"
    parser.add_argument("--ipvsadm", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_source(parser: argparse.ArgumentParser) -> None:
    text = f"ask the daemon there, not the kernel (default without the right: {live.SOCKET})"
    parser.add_argument("--socket", metavar="PATH", help=text)


def _guarded(run: live.Run) -> live.Run:
    def guarded(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except (live.Unreachable, KernelError, Refused) as error:
            print(f"hadirector: {error}", file=sys.stderr)
            return 1

    return guarded


def show(options: argparse.Namespace) -> int:
    """Print a view of the table, or zero its counters."""
    if options.zero:
        return _zero(options)
    if options.connections:
        return _show_connections(options)
    view = _read(options)
    if options.timeouts:
        told = ipvs_text.timeouts(view.timeouts)
        _print([told], _plain(view.timeouts) if options.json else None)
    elif options.daemon:
        style = Style(options.exact, options.ipvsadm)
        daemons = sorted(view.daemons, key=lambda each: each.role != "master")
        told_json = [_plain(each) for each in daemons] if options.json else None
        _print([ipvs_text.daemon(each, style) for each in daemons], told_json)
    else:
        _show_table(options, view)
    return 0


def export(options: argparse.Namespace) -> int:
    """Print the table as rules."""
    services = ipvsadm_order.in_order(_selected(_read(options), options.service))
    _print(ipvsadm_rules.lines(services))
    return 0


def _show_table(options: argparse.Namespace, view: IpvsView) -> None:
    services = _in_order(_selected(view, options.service), options)
    if options.json:
        print(json.dumps(_plain(view) | {"services": [_plain(each) for each in services]}))
        return
    style = Style(options.exact, options.ipvsadm)
    lines = ipvs_text.lines(services, options.view or View.TABLE, style)
    _print(lines if options.service else (ipvs_text.heading(view), *lines))


def _in_order(found: Sequence[ServiceView], options: argparse.Namespace) -> list[ServiceView]:
    if options.ipvsadm and options.sort == "address":
        return ipvsadm_order.in_order(found)
    return ipvs_view.in_order(found, options.sort)


def _selected(view: IpvsView, wanted: str) -> tuple[ServiceView, ...]:
    if not wanted:
        return view.services
    keys = ipvs_view.chosen(((one.key, one.name) for one in view.services), wanted)
    if not keys:
        raise Refused(_no_such(wanted, (one.name or str(one.key) for one in view.services)))
    return tuple(one for one in view.services if one.key in keys)


def _no_such(wanted: str, there: Iterable[str]) -> str:
    known = sorted(set(there))
    listed = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return f"no service {wanted} in the kernel" + (f"; there are {listed}" if known else "")


# --- Connections ---------------------------------------------------------------------------


def _show_connections(options: argparse.Namespace) -> int:
    """Line by line as the kernel tells them: there may be millions."""
    names = Names() if options.ipvsadm else _names(options)
    engines = options.view is View.PERSISTENT
    wanted = _wanted_keys(options, names)
    found = (
        (one, _name_of(one, names))
        for one in _connections()
        if (wanted is None or _is_of(one, wanted))
        and (options.client is None or one.client == options.client)
    )
    if options.json:
        for one, name in found:
            print(json.dumps(_plain(one) | {"service": name}))
        return 0
    _print(ipvs_connections.titles(engines))
    for one, name in found:
        print(ipvs_connections.text(one, engines) + (f"  # {name}" if name else ""))
    return 0


def _connections() -> "Iterator[Connection]":
    from hadirector.shell import ipvs_view as shell_view  # with msgspec, for this verb only

    try:
        yield from shell_view.connections()
    except OSError as error:
        text = f"{error.filename}: {error.strerror}: the kernel has no IPVS: modprobe ip_vs"
        raise Refused(text) from None


def _wanted_keys(options: argparse.Namespace, names: Names) -> frozenset[ServiceKey] | None:
    if not options.service:
        return None
    services = _read(options).services
    pairs = [(one.key, one.name) for one in services]
    keys = ipvs_view.chosen(pairs, options.service)
    if not keys:
        raise Refused(_no_such(options.service, (name or str(key) for key, name in pairs)))
    if any(key.fwmark for key in keys):
        raise Refused("the kernel does not tell which connections a mark made; name an address")
    return frozenset(keys)


def _is_of(one: "Connection", wanted: frozenset[ServiceKey]) -> bool:
    key = one.key
    if key is None:
        return False
    return key in wanted or ServiceKey(key.family, key.protocol, key.address, 0) in wanted


def _name_of(one: "Connection", names: Names) -> str:
    key = one.key
    if key is None:
        return ""
    whole = ServiceKey(key.family, key.protocol, key.address, 0)
    called = names.services.get(str(key)) or names.services.get(str(whole))
    return called.name if called else ""


# --- Where it comes from -------------------------------------------------------------------


def _read(options: argparse.Namespace) -> IpvsView:
    """The kernel's own word where that is allowed, else the daemon's."""
    from hadirector.shell import ipvs_view as shell_view
    from hadirector.shell.ipvs import Ipvs

    async def read() -> IpvsView:
        with Ipvs() as ipvs:
            return await shell_view.read(ipvs, names)

    if options.socket is None:
        plain = getattr(options, "ipvsadm", False) or getattr(options, "format", "")
        names = Names() if plain and not options.service else _names(options)
        try:
            return asyncio.run(read())
        except KernelError as error:
            if error.errno != errno.EPERM:
                raise
    try:
        code, told = live.ask_raw(options.socket or live.SOCKET, "GET", "/v1/ipvs", _IPVS_DEADLINE)
    except live.Unreachable as error:
        if options.socket is not None:
            raise
        raise Refused(f"only root is told by the kernel, and {error}") from None
    if code != HTTPStatus.OK:
        raise Refused(live.error_of(told))
    return shell_view.decode(told)


def _names(options: argparse.Namespace) -> Names:
    """What the daemon calls the services, where one runs."""
    from hadirector.shell import ipvs_view as shell_view

    path = options.socket or live.SOCKET
    if not os.path.exists(path):
        return Names()
    try:
        code, told = live.ask_raw(path, "GET", "/v1/ipvs/names", _NAMES_DEADLINE)
        return shell_view.decode_names(told) if code == HTTPStatus.OK else Names()
    except (live.Unreachable, ValueError):
        return Names()


def _zero(options: argparse.Namespace) -> int:
    path = options.socket or live.SOCKET
    if options.socket is None and not os.path.exists(path):
        return _zero_here(options)
    query = f"?service={quote(options.service)}" if options.service else ""
    code, told = live.ask(path, "POST", f"/v1/ipvs/zero{query}", _IPVS_DEADLINE)
    if code != HTTPStatus.OK:
        raise Refused(told.get("error", f"refused ({code})"))
    _tell_zeroed(options, told["services"])
    return 0


def _zero_here(options: argparse.Namespace) -> int:
    """Without a daemon, as `ipvsadm -Z`."""
    from hadirector.shell.ipvs import Ipvs

    selected = _selected(_read(options), options.service)

    async def zero() -> None:
        with Ipvs() as ipvs:
            for key in [one.key for one in selected] if options.service else [None]:
                await ipvs.zero(key)

    asyncio.run(zero())
    _tell_zeroed(options, len(selected))
    return 0


def _tell_zeroed(options: argparse.Namespace, count: int) -> None:
    if options.json:
        print(json.dumps({"ok": True, "services": count}))
    elif not options.ipvsadm:
        print(f"counters of {count} service{'' if count == 1 else 's'} are zero")


# --- Printing ------------------------------------------------------------------------------


def _print(lines: Iterable[str], told: object = None) -> None:
    """Text, or JSON where there is any."""
    if told is not None:
        print(json.dumps(told))
        return
    for line in lines:
        print(line)


def _plain(value: object) -> dict[str, object]:
    """A dataclass as JSON's types."""
    import msgspec

    plain = msgspec.to_builtins(value)
    assert isinstance(plain, dict)
    return plain
