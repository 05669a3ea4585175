"""`hadirector VERB`: one module per family of verbs, imported when its verb is used.

Exit codes: 0 fine, 1 failed or invalid, 2 usage; verbs with more say so in their help.
"""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from hadirector.shell import early  # first of all, and with next to nothing to import itself

if TYPE_CHECKING:
    import argparse


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit status."""
    if (sys.argv[1:] if arguments is None else arguments)[:1] == ["run"]:
        early.listen()
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a reason may have letters the locale has not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `hadirector events | head`
        _let_go()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _let_go()
        print(f"hadirector: what was to be told could not be written: {error}", file=sys.stderr)
        return 1
    return status


def _let_go() -> None:
    """Python is not to try it once more at its end, and to complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parser() -> "argparse.ArgumentParser":
    import argparse  # all of it lazily: a daemon that starts has to listen for signals first

    from hadirector import __version__
    from hadirector.cli import (
        agent,
        check,
        doctor,
        importing,
        kernel,
        live,
        operate,
        report,
        run,
        servers,
        sync,
        trace,
    )

    parser = argparse.ArgumentParser(
        prog="hadirector",
        description="High-availability director for Linux Virtual Server.",
    )
    parser.add_argument("--version", action="version", version=f"hadirector {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    families = (
        run,
        check,
        live,
        operate,
        report,
        servers,
        sync,
        kernel,
        importing,
        doctor,
        trace,
        agent,
    )
    for family in families:
        family.add_parser(verbs)
    return parser
