"""`hadirector agent`: on a real server. It tells directors of its load and its operator's wishes
(cli/agent_service); `--setup` makes it ready for direct routing or tunnels."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hadirector.cli import agent_service
from hadirector.core import server_setup
from hadirector.core.address import Address, Family, canonical, family
from hadirector.core.errors import HadirectorError
from hadirector.core.ipvs import Forward
from hadirector.core.server_setup import TUNNEL_NAMES, Found, Step, Tunnel, TunnelName, Wanted

if TYPE_CHECKING:
    from hadirector.core.settings.services import VirtualService
    from hadirector.shell.server_host import Record

_STATE_DIR = "/var/lib/hadirector"
_MORE = """\
--setup dr: the virtual addresses go on lo, and are never answered for in ARP. --setup tun: the
same, and the devices that unwrap tunnels from any director are up. The addresses are named, or
come from the directors' configuration with --config: those of the services that have this host as
a server. It may be run again at any time; --dry-run prints the commands and runs none. --remove
undoes what was done since the host was booted, and gives every setting its old value back.
conf/systemd/hadirector-server.service does it at each boot.

Exit status: 0 fine; 1 it could not be done, with the reason."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "agent",
        help="on a real server: report load and wishes to directors; hold virtual addresses",
        description="On a real server: report its load, and what its operator wants, to directors; "
        "or make it ready for direct routing or tunnels, or undo that.",
        epilog=f"{agent_service.HELP} {_MORE}",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--setup", choices=("dr", "tun"), help="make this host ready")
    way.add_argument("--remove", action="store_true", help="undo what --setup did")
    text = "drain, maint or ready; with --setup a virtual address"
    parser.add_argument("addresses", nargs="*", metavar="WORD|ADDRESS", help=text)
    agent_service.add_options(parser)
    parser.add_argument("-c", "--config", metavar="FILE", help="the directors' configuration")
    parser.add_argument("--type", choices=("ipip", "gue", "gre"), default="ipip", help="of tun")
    parser.add_argument("--port", type=int, default=6080, help="of gue (default: 6080)")
    text = "how packets are wrapped: in IPv4 or IPv6 (default: as the addresses)"
    parser.add_argument("--outer", choices=("ipv4", "ipv6"), help=text)
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    text = "where wishes are, or with --setup old values"
    parser.add_argument("--state-dir", metavar="PATH", default="", help=text)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve or leave a word; set up or remove, and say what was done."""
    if options.setup is None and not options.remove:
        return agent_service.run(options)
    from hadirector.shell import server_host

    options.state_dir = options.state_dir or _STATE_DIR
    try:
        if options.remove:
            return _remove(options)
        return _set_up(options, server_host.read())
    except HadirectorError as error:
        print(f"hadirector: {error}", file=sys.stderr)
        return 1


def _set_up(options: argparse.Namespace, found: Found) -> int:
    from hadirector.shell import server_host

    wanted = _wanted(options, found)
    reasons = server_setup.unfit(wanted, found)
    if reasons:
        raise server_host.SetupError("; ".join(reasons))
    steps = server_setup.plan(wanted, found)
    if not options.dry_run and steps:
        # A device brings settings of its own with it: what they need shows once it is there.
        _carry_out(options.state_dir, steps, found)
        found = server_host.read()
        more = server_setup.plan(wanted, found)
        _carry_out(options.state_dir, more, found)
        steps += more
        left = server_setup.plan(wanted, server_host.read())
        if left:
            raise server_host.SetupError(f"still to be done after all: {'; '.join(map(str, left))}")
    _tell(options, steps, f"ready for {', '.join(wanted.addresses)}")
    return 0


def _carry_out(state_dir: str, steps: list[Step], found: Found) -> None:
    from hadirector.shell import server_host

    record = server_host.load(state_dir)
    for step in steps:
        back = server_setup.undo(step, found)
        if back is not None and not _knows(record, back):
            record = server_host.Record(record.boot, (back, *record.steps))
            server_host.save(state_dir, record)
        server_host.carry_out(step)


def _knows(record: "Record", back: Step) -> bool:
    """Whether it is noted already: the oldest value of a setting is the operator's."""
    if back.what == "sysctl":
        return any((one.what, one.name) == (back.what, back.name) for one in record.steps)
    return back in record.steps


def _remove(options: argparse.Namespace) -> int:
    from hadirector.shell import server_host

    record, found = server_host.load(options.state_dir), server_host.read()
    steps = [step for step in record.steps if server_setup.is_needed(step, found)]
    troubles = []
    if not options.dry_run:
        for step in steps:
            try:
                server_host.carry_out(step)
            except server_host.SetupError as error:
                troubles.append(str(error))
        if not troubles:
            server_host.save(options.state_dir, server_host.Record(record.boot))
    _tell(options, steps, "as it was before")
    for trouble in troubles:
        print(f"hadirector: {trouble}", file=sys.stderr)
    return 1 if troubles else 0


def _tell(options: argparse.Namespace, steps: list[Step], done: str) -> None:
    if options.json:
        lines = [{"command": list(step.command), "why": step.why} for step in steps]
        print(json.dumps({"dry_run": options.dry_run, "steps": lines}))
        return
    for step in steps:
        print(f"{step}" + (f"    # {step.why}" if step.why else ""))
    if options.dry_run:
        count = f"{len(steps)} command{'' if len(steps) == 1 else 's'}"
        print(f"nothing was changed; {count} would be run" if steps else done)
    else:
        print(done)


# --- What is wanted ------------------------------------------------------------------------


def _wanted(options: argparse.Namespace, found: Found) -> Wanted:
    from hadirector.shell import server_host

    if options.config is not None:
        if options.addresses:
            raise server_host.SetupError("name addresses or --config, not both")
        return _of_config(options, found)
    if not options.addresses:
        raise server_host.SetupError("name the virtual addresses, or --config")
    try:
        addresses = tuple(dict.fromkeys(canonical(text) for text in options.addresses))
    except ValueError as error:
        raise server_host.SetupError(str(error)) from None
    if options.setup == "dr":
        return Wanted(addresses)
    port = options.port if options.type == "gue" else 0
    outer = {"ipv4": 4, "ipv6": 6}.get(options.outer or "")
    kinds = dict.fromkeys(family(address) for address in addresses)
    return Wanted(
        addresses, tuple(Tunnel(kind, outer or kind, options.type, port) for kind in kinds)
    )


def _of_config(options: argparse.Namespace, found: Found) -> Wanted:
    """The services that have one of this host's addresses as a server."""
    from hadirector.config.load import load_for_check
    from hadirector.shell import server_host

    loaded = load_for_check(options.config)
    config = next((one.config for one in loaded if one.config is not None), None)
    if config is None:
        text = f"{options.config} is not fine: hadirector check -c {options.config} tells why"
        raise server_host.SetupError(text)
    addresses: dict[Address, None] = {}
    tunnels: dict[Tunnel, None] = {}
    for service in config.services:
        for kind, tunnel in _ways(service, frozenset(found.elsewhere), options.setup):
            for key in service.keys:
                if key.fwmark:
                    print(
                        f"hadirector: {service.name}: the addresses of a mark are not in the "
                        "file: name them",
                        file=sys.stderr,
                    )
                else:
                    addresses[key.address] = None
                    if tunnel is not None:
                        tunnels[Tunnel(key.family, kind, *tunnel)] = None
    if not addresses:
        own = ", ".join(sorted(found.elsewhere)) or "none"
        text = f"no service has this host ({own}) as a server of {options.setup}"
        raise server_host.SetupError(f"{options.config}: {text}")
    return Wanted(tuple(addresses), tuple(tunnels))


def _ways(
    service: "VirtualService", own: frozenset[Address], setup: str
) -> Iterator[tuple[Family, tuple[TunnelName, int] | None]]:
    """How this host's packets of a service come: the family around them, and the tunnel."""
    forward = Forward.DR if setup == "dr" else Forward.TUN
    spare = (service.fallback,) if service.fallback is not None else ()
    for server in (*service.real_servers, *spare):
        if server.endpoint.address in own and server.forward is forward:
            kind = family(server.endpoint.address)
            tunnel = server.tunnel
            yield kind, None if setup == "dr" else (TUNNEL_NAMES[tunnel.type], tunnel.port)
