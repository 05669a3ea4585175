"""`hadirector run`: reads the configuration, looks whether this host can do it, and supervises.

What an operator got wrong ends here, with one line each, before any process is started.
"""

import argparse
import errno
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hadirector.core.settings.cluster import Config

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13  # include/uapi/linux/capability.h
SOCKET_DEADLINE = 1.0  # seconds for an answer on the control socket


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "run",
        help="the daemon, in the foreground",
        description="Run this node in the foreground. SIGHUP reloads; SIGTERM leaves in order.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", required=True, help="configuration file")
    parser.add_argument("--node", metavar="NAME", help="this node's name (default: the host name)")
    parser.add_argument(
        "--force",
        action="store_true",
        help="start beside a keepalived or ldirectord of this network namespace",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The daemon; its exit status."""
    from hadirector.cli import reading

    read = reading.read(options.config, options.node)
    if isinstance(read, str):
        return _refuse(read) if read else 1
    config, blob = read.config, read.blob
    problem = _make_directories(config) or _impossible()
    if problem is not None:
        return _refuse(problem)
    from hadirector import supervisor
    from hadirector.shell import alone, last_good

    # For a director that cannot read what was kept: where it came from.
    os.environ |= {"HADIRECTOR_FILE": config.path, "HADIRECTOR_NODE": config.node}
    path = f"{config.runtime_dir}/{last_good.BLOB}"
    try:
        with supervisor.only_one(config.runtime_dir) as lock, alone.alone():
            problem = (
                _not_alone(options.force)
                or _unusable_socket(config.api.socket)
                or _not_kept(config, blob, read.trouble)
            )
            return supervisor.main(path, lock) if problem is None else _refuse(problem)
    except (supervisor.Locked, alone.NotAlone) as busy:
        return _refuse(str(busy))


def _refuse(problem: str) -> int:
    print(f"hadirector: {problem}", file=sys.stderr)
    return 1


def _not_kept(config: "Config", blob: bytes, trouble: str) -> str | None:
    """Keep the configuration for processes to come, and what is wrong with its file."""
    from hadirector.shell import last_good

    try:
        last_good.keep(config.runtime_dir, blob)
    except OSError as error:
        return f"{config.runtime_dir}/{last_good.BLOB}: {error.strerror}"
    if trouble:
        last_good.refuse(config.runtime_dir, trouble)
    return None


def _not_alone(force: bool) -> str | None:
    """Who would fight us here. What is not certain, or is to be borne, is a warning."""
    from hadirector.shell import neighbours

    for neighbour in neighbours.look():
        if neighbour.certain and not force:
            return f"{neighbour}, or start with --force"
        print(f"hadirector: warning: {neighbour}", file=sys.stderr)
    return None


def _make_directories(config: "Config") -> str | None:
    for key in ("state_dir", "runtime_dir"):
        path = getattr(config, key)
        try:
            os.makedirs(path, mode=0o750, exist_ok=True)
        except OSError as error:
            return f"{key} {path}: {error.strerror}; create it for the daemon's user"
        if not os.access(path, os.W_OK | os.X_OK):
            return f"{key} {path}: not writable; give it to the daemon's user"
    return None


def _impossible() -> str | None:
    """Why this process cannot do its work, in one sentence with the fix. A key file that cannot
    be read is not among the reasons: it concerns some instances, and the rest can serve."""
    have = _capabilities()
    needed = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_NET_RAW": CAP_NET_RAW}
    missing = [name for name, bit in needed.items() if not have >> bit & 1]
    if missing:
        return f"needs {' and '.join(missing)}: run it by the shipped unit, or as root"
    return None


def _unusable_socket(path: str) -> str | None:
    """Why nobody could listen on the control socket. Asked when the lock is ours: who answers
    there then is no former life of this daemon."""
    directory = os.path.dirname(path) or "."
    try:
        if not stat.S_ISDIR(os.stat(directory).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        return f"api.socket {path}: {directory}: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"api.socket {path}: {directory} is not writable; give it to the daemon's user"
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return f"api.socket {path}: exists and is not a socket; remove it"
    except FileNotFoundError:
        return None
    return _answered(path)


def _answered(path: str) -> str | None:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(SOCKET_DEADLINE)
        try:
            probe.connect(path)
        except TimeoutError:
            pass  # its queue is full: somebody listens, and sleeps
        except OSError:
            return None  # left behind: the director replaces it
    return f"api.socket {path}: somebody answers there; stop it, or choose another path"


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
