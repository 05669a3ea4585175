"""Boots the lab kernel: Debian's user-mode Linux, an ordinary process with IPVS in it.

Everything of a run is in one private directory, removed at the end; the kernel dies with us.
Its con0 (kernel messages) goes to a file there, its con1 is the lab's input and output.
"""

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit import kernel

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "out"
_HANDED_IN = ("KEEPALIVED",)  # of our environment, what the guest is told
MEMORY = os.environ.get("LAB_MEMORY", "1536M")  # a sparse file: only what is used is taken
MEMORY_FILES = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Order:
    """What the lab shall do, carried into the guest as JSON."""

    verb: str
    arguments: list[str]
    color: bool
    where: str  # the directory the command was given in

    def write(self, directory: Path) -> None:
        (directory / "order.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, directory: Path) -> "Order":
        data: dict[str, Any] = json.loads((directory / "order.json").read_text())
        return cls(**data)


def run(order: Order, directory: Path, *, terminal: bool) -> int:
    """Boots, lets the guest do `order`, and returns its exit status.

    `directory` is private to this run: the guest's memory is there, and what it leaves for us.
    """
    OUT.mkdir(exist_ok=True)
    _compile()
    order.write(directory)
    with _a_processor() as processor:
        _write_environment(directory, terminal=terminal, color=order.color)
        if terminal:
            _boot_on_terminal(directory, processor)
        else:
            _boot_on_pipe(directory, processor)
    return _status(directory)


def _compile() -> None:
    """Byte code is made here once, not in the guest again and again (compiling is slow there)."""
    root = HERE.parent.parent
    trees = [str(root / "hadirector"), str(HERE), str(root / "tests")]
    command = [sys.executable, "-m", "compileall", "-q", *trees]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


@contextmanager
def _a_processor() -> Iterator[int | None]:
    """A CPU no other lab uses: two lab kernels on one CPU ruin each other's timing.

    Held by an abstract socket, which leaves no file behind. None: all are taken.
    """
    for number in sorted(os.sched_getaffinity(0), reverse=True):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0hadirector-lab-cpu-{number}")
        except OSError:
            lock.close()
            continue
        with lock:
            yield number
        return
    print("lab: every CPU has a lab already; timing will suffer", file=sys.stderr)
    yield None


def _write_environment(directory: Path, *, terminal: bool, color: bool) -> None:
    size = shutil.get_terminal_size()
    lines = [
        f"guest_python={sys.executable}",
        f"guest_path={HERE.parent}",
        f"guest_out={OUT}",
        f"guest_tty={'cooked' if terminal else 'raw'}",
        f"guest_size='rows {size.lines} cols {size.columns}'",
        f"export TERM={os.environ.get('TERM', 'dumb') if color else 'dumb'}",
        *(f"export {k}='{os.environ[k]}'" for k in _HANDED_IN if k in os.environ),
        *([] if color else ["export NO_COLOR=1"]),  # con1 is a terminal even where ours is none
    ]
    (directory / "guest.env").write_text("\n".join(lines) + "\n")
    init = directory / "init"
    init.write_text(f"#!/bin/bash\nexec {HERE}/guest-init.sh {directory}\n")
    init.chmod(0o755)


def _boot(directory: Path, processor: int | None, read: int, write: int) -> subprocess.Popen[bytes]:
    command = [
        *_scheduling(processor),
        "linux.uml",
        f"mem={MEMORY}",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "rw",
        "quiet",
        f"init={directory}/init",
        "con=null",
        "con0=null,fd:1",
        f"con1=fd:{read},fd:{write}",
    ]
    with (directory / "console").open("wb") as console:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=(read, write),
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(_memory_at(directory)), **_preloaded(directory)},
            # SIGTERM, for then it takes its own processes along; SIGKILL would orphan them.
            preexec_fn=lambda: kernel.die_with_parent(signal.SIGTERM),
        )


def _memory_at(directory: Path) -> Path:
    """Where the file goes that is the guest's memory; it has no name from its first moment on. Not
    on a disk if there is room elsewhere: the host would write it there again and again, and the
    whole guest waits where it wants to change a page meanwhile."""
    size = int(MEMORY[:-1]) << {"K": 10, "M": 20, "G": 30}[MEMORY[-1].upper()]
    with suppress(OSError):
        about = os.statvfs(MEMORY_FILES)
        room = min(about.f_bavail * about.f_frsize, _available())
        usable = os.access(MEMORY_FILES, os.W_OK) and not about.f_flag & os.ST_NOEXEC
        if usable and room > size:
            return MEMORY_FILES
    return directory


def _available() -> int:
    """Bytes of memory the host could give away."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def _preloaded(directory: Path) -> dict[str, str]:
    """What the lab kernel needs on a processor with AMX; see the source for why."""
    if " amx_tile" not in Path("/proc/cpuinfo").read_text():
        return {}
    compiler = next(name for name in ("cc", "gcc", "tcc") if shutil.which(name))
    library = directory / "wide_registers.so"
    source = HERE / "wide_registers.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


def _scheduling(processor: int | None) -> list[str]:
    """One CPU makes the guest three times faster, real-time priority makes its timers punctual.

    LAB_UNPINNED=1 does without both, to see what a badly treated virtual machine does.
    """
    if processor is None or os.environ.get("LAB_UNPINNED"):
        return []
    pinned = ["taskset", "-c", str(processor)]
    real_time = ["chrt", "-r", "10"]
    probe = subprocess.run([*real_time, "true"], capture_output=True, check=False)
    return [*real_time, *pinned] if probe.returncode == 0 else pinned


def _boot_on_pipe(directory: Path, processor: int | None) -> None:
    read, write = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    guest = _boot(directory, processor, nothing, write)
    os.close(write)
    try:
        while data := os.read(read, 65536):
            _write_all(sys.stdout.fileno(), data)
            if guest.poll() is not None:
                break
        guest.wait()
    finally:
        _kill(guest)
        os.close(read)
        os.close(nothing)


def _boot_on_terminal(directory: Path, processor: int | None) -> None:
    """Our terminal in raw mode, theirs a pseudo-terminal: all keys go to the guest."""
    ours, theirs = pty.openpty()
    size = shutil.get_terminal_size()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size.lines, size.columns, 0, 0))
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    guest = _boot(directory, processor, theirs, theirs)
    try:
        tty.setraw(keyboard)
        tty.setraw(theirs)
        while guest.poll() is None:
            ready, _, _ = select.select([keyboard, ours], [], [], 0.2)
            if keyboard in ready:
                os.write(ours, os.read(keyboard, 4096))
            if ours in ready:
                _write_all(sys.stdout.fileno(), os.read(ours, 65536))
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        _kill(guest)
        os.close(ours)
        os.close(theirs)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _kill(guest: subprocess.Popen[bytes]) -> None:
    """Until the last of its processes is gone."""
    with suppress(ProcessLookupError):
        os.killpg(guest.pid, signal.SIGKILL)
    guest.wait()
    for _ in range(100):
        with suppress(PermissionError):  # only zombies are left, for init to reap
            try:
                os.killpg(guest.pid, 0)
            except ProcessLookupError:
                return
        time.sleep(0.05)


def _status(directory: Path) -> int:
    """The guest's own exit status is lost, so it leaves it in a file."""
    with suppress(OSError, ValueError):
        return int((directory / "status").read_text())
    console = (directory / "console").read_text(errors="replace").splitlines()
    print("lab: the lab kernel ended early:", *console[-15:], sep="\n  ", file=sys.stderr)
    return 1
