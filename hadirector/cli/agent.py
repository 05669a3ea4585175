"""`hadirector agent`: on a real server; tells directors its load and its operator's wishes."""

import argparse
import sys

from hadirector.cli.listen import host_port

_HELP = """\
Without a WORD it serves: whoever connects to the port gets one line, as HAProxy's agent-check has
it, such as `ready up 73% #cpu 27% busy`. On the director a check of `type: agent` asks for it, and
weights follow. drain asks directors for no new connections, maint to take the server out; both
stay, also after a reboot, until ready. The same by hand: make a file drain or maint in the state
directory, its first line is the reason."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this verb."""
    text = "on a real server: report load, and what its operator wants, to directors"
    parser = verbs.add_parser("agent", help=text, description=text, epilog=_HELP)
    parser.add_argument("word", nargs="?", choices=("drain", "maint", "ready"), metavar="WORD")
    told = "where to listen (default: port 8888 of every address)"
    parser.add_argument(
        "--listen", type=host_port, default=("", 0), metavar="[ADDR]:PORT", help=told
    )
    told = "cpu, load, file:/PATH or command:/PATH (percent free); several: the lowest counts"
    parser.add_argument("--source", action="append", default=[], metavar="SOURCE", help=told)
    parser.add_argument("--state-dir", default="", metavar="PATH", help="for drain and maint")
    parser.add_argument("--reason", default="", metavar="TEXT", help="told to the directors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop, or leave a word for the agent that does."""
    import asyncio  # on a real server, where nothing else of the package is needed
    import logging

    from hadirector import agent
    from hadirector.core.checker_messages import Wish
    from hadirector.shell.agent_sources import WishFiles, parse

    state_dir = options.state_dir or agent.STATE_DIR
    if options.word:
        wish = Wish.NONE if options.word == "ready" else Wish(options.word)
        try:
            WishFiles(state_dir).say(wish, " ".join(options.reason.split()))
        except OSError as error:
            print(f"hadirector: {state_dir}: {error.strerror}", file=sys.stderr)
            return 1
        print(f"{options.word}: directors are told at their next check")
        return 0
    try:
        sources = tuple(parse(text) for text in options.source or ["cpu"])
    except ValueError as error:
        print(f"hadirector: --source: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    address, port = options.listen
    try:
        asyncio.run(agent.serve(sources, state_dir, address, port or agent.PORT))
    except OSError as error:
        print(f"hadirector: cannot listen: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0
