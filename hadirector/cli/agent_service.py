"""What `hadirector agent` does without --setup: it tells directors how busy a real server is, and
what its operator wants."""

import argparse
import sys

from hadirector.cli.listen import host_port

WORDS = ("drain", "maint", "ready")
HELP = """\
Without a WORD it serves: whoever connects to the port gets one line, as HAProxy's agent-check has
it, such as `ready up 73% #cpu 27% busy`. On the director a check of `type: agent` asks for it, and
weights follow. drain asks directors for no new connections, maint to take the server out; both
stay, also after a reboot, until ready. The same by hand: make a file drain or maint in the state
directory, its first line is the reason."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the serving agent takes."""
    text = "where to listen (default: port 8888 of every address)"
    where = ("", 0)
    parser.add_argument("--listen", type=host_port, default=where, metavar="[ADDR]:PORT", help=text)
    text = "cpu, load, file:/PATH or command:/PATH (percent free); several: the lowest counts"
    parser.add_argument("--source", action="append", default=[], metavar="SOURCE", help=text)
    parser.add_argument("--reason", default="", metavar="TEXT", help="told to the directors")


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop, or leave a word for the agent that does."""
    import asyncio  # on a real server, where nothing else of the package is needed
    import logging

    from hadirector import agent
    from hadirector.core.checker_messages import Wish
    from hadirector.shell.agent_sources import WishFiles, parse

    state_dir = options.state_dir or agent.STATE_DIR
    if options.addresses:
        word = options.addresses[0]
        if len(options.addresses) > 1 or word not in WORDS:
            wanted = f"{' '.join(options.addresses)!r}: write drain, maint or ready, or use --setup"
            print(f"hadirector: {wanted}", file=sys.stderr)
            return 2
        wish = Wish.NONE if word == "ready" else Wish(word)
        try:
            WishFiles(state_dir).say(wish, " ".join(options.reason.split()))
        except OSError as error:
            print(f"hadirector: {state_dir}: {error.strerror}", file=sys.stderr)
            return 1
        print(f"{word}: directors are told at their next check")
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
