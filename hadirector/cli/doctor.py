"""`hadirector doctor`: what is wrong with this host, its network and the configuration, why it
breaks, and what mends it."""

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from hadirector.cli.live import SOCKET, Unreachable, add_verb, ask

if TYPE_CHECKING:
    from hadirector.core.doctor.finding import Finding, Report
    from hadirector.core.settings.cluster import Config

_MORE = """\
Looks at the live system and asks the network: settings, routes, modules, other programs, who
answers ARP for the virtual addresses, by which way real servers answer, whether adverts, sync
records and the peer channel get through. It sends a few packets (an ARP request for each address,
a SYN or two for each server, given up at once) and changes nothing. Beside a running daemon it
takes the configuration from there; with -c it needs none. Without root it says what it could not
look at.
Exit status: 0 nothing found; 1 something found, or no configuration; 2 usage."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "doctor", run, "what is wrong here, why, and how to mend it", _MORE)
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """The options that say which configuration, for verbs that need no daemon."""
    text = "configuration file (default: the daemon's)"
    parser.add_argument("-c", "--config", metavar="FILE", help=text)
    parser.add_argument("--node", metavar="NAME", help="this node's name (default: the host name)")
    parser.set_defaults(socket=None)


def run(options: argparse.Namespace) -> int:
    """Look, tell; 1 when something is wrong."""
    found = configuration(options)
    if isinstance(found, str):
        print(f"hadirector: {found}", file=sys.stderr)
        return 1
    config, status, why_not = found
    from hadirector.core.doctor.examine import examine
    from hadirector.shell.doctor.gather import gather

    report = examine(config, gather(config, status, why_not))
    print(json.dumps(_as_json(report), indent=2) if options.json else _as_text(report))
    return 1 if report.findings else 0


Found = tuple["Config", dict[str, Any] | None, str]


def configuration(options: argparse.Namespace) -> Found | str:
    """The configuration, the daemon's status (None: there is none, and why); or why there is no
    configuration, in a sentence. Mistakes of the file are printed."""
    from hadirector.cli import reading

    status, why_not = _status(options.socket or SOCKET)
    path, node = options.config, options.node
    if path is None:
        if status is None:
            return f"{why_not}; without a daemon, give the configuration: -c FILE"
        path, node = status["config"]["path"], node or status["node"]
    read = reading.read(path, node, "looking by")
    if isinstance(read, str):
        return read or f"{path}: nothing can be examined until it is mended"
    if options.socket is None and read.config.api.socket != SOCKET:
        status, why_not = _status(read.config.api.socket)
    return read.config, status, why_not


def _status(path: str) -> tuple[dict[str, Any] | None, str]:
    try:
        _, told = ask(path, "GET", "/v1/status")
    except Unreachable as error:
        return None, str(error)
    return (told, "") if "instances" in told else (None, f"{path}: no status yet")


def _as_text(report: "Report") -> str:
    lines = [_headline(report)]
    for number, finding in enumerate(report.findings, 1):
        lines += ["", *_paragraph(number, finding)]
    if report.not_checked:
        lines += ["", "not checked:"]
        lines += [f"  {each.check}: {each.reason}" for each in report.not_checked]
    if report.limits:
        lines += ["", "does not live through a failover (the kernel's limits, no fault):"]
        lines += [f"  {each}" for each in report.limits]
    return "\n".join(lines)


def _headline(report: "Report") -> str:
    count = len(report.findings)
    told = "nothing wrong found" if not count else f"{count} finding{'s' if count > 1 else ''}"
    left = f", {len(report.not_checked)} not done" if report.not_checked else ""
    return f"{told} ({len(report.checked)} checks done{left})"


def _paragraph(number: int, finding: "Finding") -> list[str]:
    first, *more = finding.fix
    return [
        f"{number}. {finding.code}: {finding.subject}",
        f"   what:  {finding.what}",
        f"   why:   {finding.why}",
        f"   fix:   {first}",
        *(f"          {each}" for each in more),
        f"   again: {finding.again}",
    ]


def _as_json(report: "Report") -> dict[str, Any]:
    return {
        "findings": [dataclasses.asdict(each) for each in report.findings],
        "not_checked": [dataclasses.asdict(each) for each in report.not_checked],
        "checked": list(report.checked),
        "limits": list(report.limits),
    }
