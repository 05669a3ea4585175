"""`hadirector VERB`: one module per family of verbs, imported when its verb is used.

Exit codes: 0 fine, 1 failed or invalid, 2 usage; verbs with more say so in their help.
"""

import argparse
import sys

from hadirector import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `hadirector events | head`
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    from hadirector.cli import (
        check,
        live,
        operate,
        run,
    )  # lazily: only a command line pays for them

    parser = argparse.ArgumentParser(
        prog="hadirector",
        description="High-availability director for Linux Virtual Server.",
    )
    parser.add_argument("--version", action="version", version=f"hadirector {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for family in (run, check, live, operate):
        family.add_parser(verbs)
    return parser
