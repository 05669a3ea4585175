"""The verb that feeds checks of type external."""

import argparse
from urllib.parse import urlencode

from hadirector.cli import outcome
from hadirector.cli.live import add_verb

DEADLINE = 10.0  # seconds

_REPORT = """\
For checks of type external: somebody else knows how a server is, and says so. A report is good for
the check's max_age; after that the server counts as failed until the next one. Tell both directors:
each decides for itself. Exit status: 0 taken; 1 not taken, and why."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this verb."""
    text = "say how a server is, for a check of type external"
    parser = add_verb(verbs, "report", report, text, _REPORT)
    parser.add_argument("check", metavar="CHECK", help="the name of the check")
    parser.add_argument("state", choices=("up", "down"))
    text = "its address, with a port or without (default: every server of the check)"
    parser.add_argument("--server", default="", metavar="SERVER", help=text)
    text = "the percent of its weight that it can take, for services with feedback"
    parser.add_argument("--share", default="", metavar="PERCENT", help=text)
    parser.add_argument("--reason", default="", metavar="TEXT", help="for status and journal")


def report(options: argparse.Namespace) -> int:
    """Report, and say for how many servers."""
    asked = {
        "check": options.check,
        "state": options.state,
        "server": options.server,
        "share": options.share,
        "reason": options.reason,
    }
    query = urlencode({name: value for name, value in asked.items() if value})
    return outcome.post(options, f"/v1/report?{query}", DEADLINE)
