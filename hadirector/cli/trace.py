"""`hadirector trace`: follows one connection of a client through director and server."""

import argparse
import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from hadirector.cli.doctor import add_config, configuration
from hadirector.cli.listen import address
from hadirector.cli.live import add_verb
from hadirector.cli.servers import duration
from hadirector.core.errors import HadirectorError

if TYPE_CHECKING:
    from hadirector.core.settings.cluster import Config
    from hadirector.core.trace.hop import Verdict
    from hadirector.core.trace.packets import Scene
    from hadirector.core.trace.walk import Walk
    from hadirector.shell.trace.capture import Capture

_TICK = 0.1  # seconds between looks at what came
_STUCK = 4.0  # seconds after its first packet: a SYN was sent three times by then
_LINGER = 0.3  # seconds for the last packets of a connection that is over

_MORE = """\
Run it on the master, then let the client ask (curl, a browser). The first connection it opens to a
virtual service is drawn as a ladder, with the addresses it has on each leg, and the last line says
where packets stop and the likeliest cause. Where packets alone do not show it, the server is asked
as `hadirector doctor` does. The kernel filters for the client, so that a busy director does not
notice. Answers of direct routing and tunnels go by other ways: the client's going on shows them.
Services by firewall mark are not followed.
Exit status: 0 packets pass; 1 they stop somewhere, or none came; 2 usage."""


class NotTraced(HadirectorError):
    """It cannot be done, for a reason the operator can mend."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "trace", run, "where a client's packets stop, and why", _MORE)
    parser.add_argument("--client", metavar="ADDR", required=True, type=address, help="whose")
    parser.add_argument("--service", metavar="S", help="only this one (default: all)")
    parser.add_argument("--pcap", metavar="FILE", help="keep the packets for tcpdump, Wireshark")
    text = "how long to wait for it, at most (default: 30s)"
    parser.add_argument("--timeout", metavar="TIME", default=30.0, type=duration, help=text)
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Wait for a connection, draw it, judge it."""
    found = configuration(options)
    if isinstance(found, str):
        print(f"hadirector: {found}", file=sys.stderr)
        return 1
    try:
        return _trace(options, *found)
    except NotTraced as error:
        print(f"hadirector: {error}", file=sys.stderr)
        return 1


def _trace(
    options: argparse.Namespace, config: "Config", status: dict[str, Any] | None, why_not: str
) -> int:
    from hadirector.core.trace import verdict
    from hadirector.core.trace.hop import Evidence
    from hadirector.core.trace.walk import follow
    from hadirector.shell.trace import reverse_path, stage

    config = _narrowed(config, options.service)
    try:
        from hadirector.shell.trace.capture import Capture

        scene, interfaces = stage.set_up(config, options.client, status)
        if not interfaces:
            raise NotTraced("no interface of this host leads to a virtual address or a server")
        before = reverse_path.dropped()
        with Capture(interfaces, options.client) as capture:
            _warn_where_nothing_passes(status)
            _ready(options, scene, interfaces)
            _wait(capture, scene, options.timeout)
        if options.pcap:
            capture.save(options.pcap)
    except ImportError as error:
        raise NotTraced(f"scapy is needed: pip install 'hadirector[trace]' ({error})") from None
    except PermissionError as error:
        raise NotTraced(f"not permitted: run it as root (CAP_NET_RAW) ({error})") from None
    except OSError as error:
        raise NotTraced(str(error)) from None
    walk = follow(scene, capture.packets, capture.arp)
    told = verdict.is_fine(walk) if walk is not None else None
    if told is None:
        from hadirector.core.doctor.case import Case
        from hadirector.shell.doctor.gather import gather

        fewer = stage.narrowed(config, walk)
        case = Case(fewer, gather(fewer, status, why_not))
        evidence = Evidence(case, reverse_path.dropped() - before)
        told = verdict.judge(scene, walk, evidence)
    _tell(options, walk, told)
    return 0 if told.fine else 1


def _wait(capture: "Capture", scene: "Scene", timeout: float) -> None:
    """Until a connection is over, is stuck, or the time is up."""
    from hadirector.core.trace.walk import follow

    deadline = time.time() + timeout
    while time.time() < deadline and not capture.full:
        time.sleep(_TICK)
        walk = follow(scene, tuple(capture.packets), ())
        if walk is None:
            continue
        if walk.over:
            time.sleep(_LINGER)
            return
        if not walk.acknowledged and time.time() - capture.began - walk.steps[0].packet.at > _STUCK:
            return


def _warn_where_nothing_passes(status: dict[str, Any] | None) -> None:
    """A backup sees no client's packets: what it says then is no verdict on the network."""
    routers = {
        name: router
        for name, instance in (status or {"instances": {}})["instances"].items()
        for router in instance["routers"].values()
    }
    if routers and all(router["state"] != "master" for router in routers.values()):
        masters = dict.fromkeys(r["master"] for r in routers.values() if r["master"])
        where = f": {', '.join(masters)} is; run it there" if masters else ""
        print(f"warning: this node is master of nothing{where}", file=sys.stderr, flush=True)


def _ready(options: argparse.Namespace, scene: "Scene", interfaces: tuple[str, ...]) -> None:
    names = ", ".join(stage.name for stage in scene.stages)
    print(
        f"tracing {options.client} to {names} on {', '.join(interfaces)}, "
        f"for {options.timeout:g} s at most: let it ask now",
        file=sys.stderr,
        flush=True,
    )


def _narrowed(config: "Config", name: str | None) -> "Config":
    services = tuple(s for s in config.services if name in (None, s.name))
    if not services:
        known = ", ".join(service.name for service in config.services) or "none"
        raise NotTraced(f"there is no service {name}; known: {known}")
    usable = tuple(s for s in services if any(key.address for key in s.keys))
    if not usable:
        raise NotTraced(f"{name}: services by firewall mark are not followed")
    return dataclasses.replace(config, services=usable)


def _tell(options: argparse.Namespace, walk: "Walk | None", told: "Verdict") -> None:
    from hadirector.core.trace import ladder

    lines = [] if walk is None else ladder.draw(walk)
    if options.json:
        print(json.dumps(_as_json(walk, lines, told), indent=2))
        return
    if walk is not None:
        server = f", server {walk.server.endpoint}" if walk.server else ""
        print(f"{walk.stage.name}: {walk.client} to {walk.virtual}{server}\n")
        print("\n".join(lines) + "\n")
    if told.fine:
        print(f"passes: {told.what}")
        return
    print(f"stops {told.hop.value}: {told.what}")
    print(f"  cause: {told.cause}")
    for number, each in enumerate(told.look):
        print(f"  {'' if number else 'look:':<6} {each}")


def _as_json(walk: "Walk | None", lines: list[str], told: "Verdict") -> dict[str, Any]:
    server = walk.server if walk is not None else None
    return {
        "passes": told.fine,
        "hop": None if told.fine else told.hop.value,
        "what": told.what,
        "cause": told.cause,
        "look": list(told.look),
        "service": None if walk is None else walk.stage.name,
        "client": None if walk is None else str(walk.client),
        "virtual": None if walk is None else str(walk.virtual),
        "server": None if server is None else str(server.endpoint),
        "ladder": lines,
    }
