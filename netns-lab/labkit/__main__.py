"""The lab: client, two directors and four real servers on a kernel with IPVS.

Without --native or --guest: this host's kernel if it has ip_vs and you are root, else the lab
kernel, which needs neither.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from labkit import guest, verbs
from labkit.guest import Order


def main() -> int:
    """Where every process of the lab starts."""
    if sys.argv[1:2] == ["--inside"]:
        return _inside(Path(sys.argv[2]))
    arguments, rest = _parse(sys.argv[1:])
    order = Order(
        verb=arguments.verb,
        arguments=rest,
        color=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
        where=os.getcwd(),
    )
    if order.verb == "list":
        return verbs.list_all()
    result_file = verbs.prepare(order)
    terminal = order.verb == "shell" and sys.stdin.isatty() and sys.stdout.isatty()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also when started in background
    if order.verb != "exec":
        _announce(arguments.kernel, arguments.why)
    try:
        with tempfile.TemporaryDirectory(prefix="hadirector-lab-") as private:
            directory = Path(private)
            if arguments.kernel == "native":
                status = verbs.run(order, directory)
            else:
                status = guest.run(order, directory, terminal=terminal)
            if result_file:
                shutil.copyfile(directory / "result.json", result_file)
            return status
    except KeyboardInterrupt:
        print("\nlab: stopped; nothing is left behind", file=sys.stderr)
        return 130


_VERBS = {
    "demo": "shows, second by second, what a client sees while things break",
    "drill": "drill NAME... [--runs N] [--director hadirector|keepalived|both] [--lenient]"
    " [--json FILE]",
    "matrix": "matrix [CELL...] [--list] [--at-once N] [--lenient] [--json FILE]: beside a real"
    " keepalived",
    "list": "the drills and benches, one line each",
    "shell": "a shell in the running lab: `lb1 ipvsadm -Ln`, `client curl ...`",
    "bench": "bench [NAME]: speed of single parts beside other tools",
    "exec": "exec COMMAND...: runs it as root in a kernel with ip_vs",
}
_FORCING = ("--native", "--guest")  # understood by the script `lab`, which decides


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The lab's own words, and those of the verb, which are not looked at here."""
    parser = argparse.ArgumentParser(
        prog="lab",
        description=__doc__,
        epilog="verbs:\n" + "\n".join(f"  {name:8}{text}" for name, text in _VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", choices=("native", "guest"), help=argparse.SUPPRESS)
    parser.add_argument("--why", default="", help=argparse.SUPPRESS)
    parser.add_argument("--native", action="store_true", help="use this host's kernel")
    parser.add_argument("--guest", action="store_true", help="boot the lab kernel")
    parser.add_argument("verb", choices=tuple(_VERBS), metavar="VERB")
    at = next((i for i, word in enumerate(words) if word in _VERBS), len(words))
    rest = words[at + 1 :]
    if words[at : at + 1] != ["exec"]:
        rest = [word for word in rest if word not in _FORCING]
    return parser.parse_args(words[: at + 1] or ["--help"]), rest


def _announce(kernel: str, why: str) -> None:
    what = "this host's kernel" if kernel == "native" else "the lab kernel"
    print(f"lab: runs in {what} ({why})", file=sys.stderr, flush=True)


def _inside(directory: Path) -> int:
    """First program of the guest."""
    order = Order.read(directory)
    status = 1
    try:
        status = verbs.run(order, directory)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
        (directory / "status").write_text(str(status))
    return status


if __name__ == "__main__":
    sys.exit(main())
