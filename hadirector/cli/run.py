"""`hadirector run`: reads the configuration, looks whether this host can do it, and supervises.

What an operator got wrong ends here, with one line each, before any process is started.
"""

import argparse
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hadirector.core.settings.cluster import Config

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13  # include/uapi/linux/capability.h
BLOB = "config.good"  # in runtime_dir: the last good configuration, for restarted processes


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "run",
        help="the daemon, in the foreground",
        description="Run this node in the foreground. SIGHUP reloads; SIGTERM leaves in order.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", required=True, help="configuration file")
    parser.add_argument("--node", metavar="NAME", help="this node's name (default: the host name)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The daemon; its exit status."""
    config = _read(options.config, options.node)
    if config is None:
        return 1
    problem = _impossible(config)
    if problem is not None:
        print(f"hadirector: {problem}", file=sys.stderr)
        return 1
    from hadirector import supervisor

    try:
        return supervisor.main(f"{config.runtime_dir}/{BLOB}", config.runtime_dir)
    except supervisor.Locked as locked:
        text = f"another hadirector runs with runtime_dir {locked}: stop it first"
        print(f"hadirector: {text}", file=sys.stderr)
        return 1


def _read(path: str, node: str | None) -> "Config | None":
    """The configuration, or None with every mistake printed.

    Read in a child process: what YAML and validation leave in memory would stay with the
    supervisor for good.
    """
    import subprocess

    from hadirector.config import handover

    command = [sys.executable, "-P", "-m", "hadirector.config", path]
    command += ["--node", node] if node else []
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
    loaded = handover.decode(answer)
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    if loaded.config is None:
        return None
    failure = _make_directories(loaded.config)
    if failure is None:
        try:
            Path(loaded.config.runtime_dir, BLOB).write_bytes(answer)
        except OSError as error:
            failure = f"runtime_dir {loaded.config.runtime_dir}: {error.strerror}"
    if failure is not None:
        print(f"hadirector: {failure}", file=sys.stderr)
        return None
    return loaded.config


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


def _impossible(config: "Config") -> str | None:
    """Why this host cannot run the configuration, in one sentence with the fix."""
    have = _capabilities()
    needed = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_NET_RAW": CAP_NET_RAW}
    missing = [name for name, bit in needed.items() if not have >> bit & 1]
    if missing:
        return f"needs {' and '.join(missing)}: run it by the shipped unit, or as root"
    if config.key_file is not None:
        return _unreadable_key(config.key_file)
    return None


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _unreadable_key(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        return f"key_file {path}: {error.strerror}; it must be readable by the daemon's user"
    if mode & 0o007:
        return f"key_file {path}: mode {mode:04o} lets everybody in; chmod 0640 it"
    return None
