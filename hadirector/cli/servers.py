"""Verbs about real servers: drain, disable, enable, weight."""

import argparse
import getpass
import os
import time
from urllib.parse import urlencode

from hadirector.cli import outcome, waiting
from hadirector.cli.live import add_verb

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DEADLINE = 10.0  # seconds for an answer: it waits for the disk and for the peers

_SERVER = """\
SERVER is SERVICE/ADDRESS[:PORT] for one service, or ADDRESS[:PORT] for the host everywhere. The
newest order about a server counts. It survives reload, restart and failover: with key_file every
director is told, one that is away when it is back; without, give it on each of them.
Exit status: 0 done; 4 refused; 1 no such server, or no daemon answers."""

_DRAIN = """\
Weight 0: no new connections, those there stay. With --wait the exit status is 0 as soon as the
server can be rebooted without hurting anybody, 4 when the deadline passed before. Only the master
knows what is left: elsewhere --wait is refused before anything is ordered. """


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these verbs."""
    text = "take a real server out for new connections; those there stay"
    drain = _add(verbs, "drain", text, _DRAIN)
    drain.add_argument("--wait", action="store_true", help="until it is safe to reboot")
    told = "how long to wait (default: 10m)"
    drain.add_argument("--deadline", type=duration, default=600.0, metavar="TIME", help=told)
    text = "take a real server out of IPVS; its connections expire at their next packet"
    _add(verbs, "disable", text)
    text = "end what drain or disable ordered; the server starts slowly where slow_start says so"
    _add(verbs, "enable", text)
    text = "another weight than the configured one"
    parser = _add(verbs, "weight", text)
    parser.add_argument("weight", metavar="N|configured", help="0 to 65535, or as configured")


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    more: str = "",
) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, order, text, more + _SERVER)
    parser.set_defaults(verb=name)
    count = 1 if name == "weight" else "+"
    about = "web/10.0.1.12, or 10.0.1.12"
    parser.add_argument("server", nargs=count, metavar="SERVER", help=about)
    parser.add_argument("--reason", default="", metavar="TEXT", help="for status and journal")
    text = "it ends by itself after that: 30m, 2h"
    parser.add_argument("--expires", type=duration, metavar="TIME", help=text)
    return parser


def order(options: argparse.Namespace) -> int:
    """Give the order about each server, and say what became of it; the worst exit status."""
    waits = options.verb == "drain" and options.wait
    began = time.monotonic()
    if waits and not waiting.is_known_here(options.socket, options.server):
        return waiting.REFUSED
    worst = max(_order(options, server, waits) for server in options.server)
    if worst or not waits:
        return worst
    for server in options.server:
        left = max(0.0, options.deadline - (time.monotonic() - began))
        worst = max(worst, waiting.until_safe(options.socket, server, left, options.json))
    return worst


def _order(options: argparse.Namespace, server: str, waits: bool) -> int:
    asked = {
        "server": server,
        "reason": options.reason,
        "by": whoami(),
        "expires": "" if options.expires is None else f"{options.expires:g}",
        "weight": options.weight if options.verb == "weight" else "",
    }
    query = urlencode({name: value for name, value in asked.items() if value})
    return outcome.post(options, f"/v1/servers/{options.verb}?{query}", DEADLINE, more=waits)


def duration(text: str) -> float:
    """`90`, `500ms`, `30s`, `10m`, `2h`, `1d`: seconds; for argparse."""
    number, unit = text, "s"
    for one in sorted(UNITS, key=len, reverse=True):
        if text.endswith(one):
            number, unit = text[: -len(one)], one
            break
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 30s, 10m or 2h")
    return seconds


def whoami() -> str:
    """Who gives the order: whoever became root for it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
