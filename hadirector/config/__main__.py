"""`python -m hadirector.config FILE [--node NAME] [--parsed FOLDER] [--keep]`: read a file, hand
it over on stdout. FOLDER has what need not be parsed again, `--keep` puts that into the runtime
directory (config/parsed).

The daemon runs this, so that YAML is never parsed on one of its loops and what parsing leaves
in memory goes with this process. Exit status: 0 a configuration, 1 none.
"""

import argparse
import gc
import sys

from hadirector.config import handover, routing
from hadirector.config.load import load
from hadirector.config.parsed import FOLDER, Parsed


def main() -> int:
    """Load as the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hadirector.config")
    parser.add_argument("file")
    parser.add_argument("--node")
    parser.add_argument("--parsed")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    gc.disable()  # nothing here is a circle, and looking for some takes a third of the time
    known = Parsed(options.parsed)
    loaded = load(options.file, options.node, tables=routing.read_tables(), parse=known.parse)
    if options.keep and loaded.config is not None:
        known.keep(f"{loaded.config.runtime_dir}/{FOLDER}")
    sys.stdout.buffer.write(handover.encode(loaded) + b"\n")
    return 0 if loaded.config is not None else 1


if __name__ == "__main__":
    sys.exit(main())
