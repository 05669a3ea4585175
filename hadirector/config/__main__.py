"""`python -m hadirector.config FILE [--node NAME]`: read a file, hand it over on stdout.

The daemon runs this, so that YAML is never parsed on one of its loops and what parsing leaves
in memory goes with this process. Exit status: 0 a configuration, 1 none.
"""

import argparse
import sys

from hadirector.config import handover, routing
from hadirector.config.load import load


def main() -> int:
    """Load as the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hadirector.config")
    parser.add_argument("file")
    parser.add_argument("--node")
    options = parser.parse_args()
    loaded = load(options.file, options.node, tables=routing.read_tables())
    sys.stdout.buffer.write(handover.encode(loaded) + b"\n")
    return 0 if loaded.config is not None else 1


if __name__ == "__main__":
    sys.exit(main())
