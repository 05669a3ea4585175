"""Kernel settings under /proc/sys, changed on loan.

/proc/sys is memory, not a disk, but there are many files: call it in a thread. Every value
that is changed is recorded as it was before; `restore` gives them back. The record can be kept in
a file by the caller and handed to the next `Loan`, so that a director that was killed does not
make its own values the operator's.
"""

import contextlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hadirector.core.sysctls import Sysctl

ROOT = Path("/proc/sys")
_SWAPPED = str.maketrans("./", "/.")  # sysctl(8): a dot within a name is written as a slash


@dataclass(frozen=True, slots=True)
class Trouble:
    """A setting that is not as it was wanted, and why; `missing` when this kernel has none."""

    name: str
    text: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class Loan:
    """The settings taken from the operator, and their values before."""

    def __init__(self, recorded: Mapping[str, str] | None = None, root: Path = ROOT) -> None:
        self._recorded = dict(recorded or {})
        self._left: dict[str, str] = {}  # as they were when this process had set or seen them right
        self._root = root

    @property
    def recorded(self) -> Mapping[str, str]:
        """What `restore` will write, by name, in the order of the first change."""
        return dict(self._recorded)

    def heeding(self) -> tuple[str, ...]:
        """The interfaces that heed IPv6 router advertisements now, or did until `apply` changed
        it; with the default for those to come. Dots are slashes in their names."""
        names = sorted(path.name for path in (self._root / "net/ipv6/conf").glob("*"))
        conf = [name.replace(".", "/") for name in names if name not in ("all", "lo")]
        return tuple(name for name in conf if self._heeds(name))

    def apply(self, wanted: Iterable[Sysctl]) -> tuple[Trouble, ...]:
        """Sets what differs, in order; nothing is raised, each failure is told."""
        found = (self._apply_one(setting) for setting in wanted)
        return tuple(trouble for trouble in found if trouble is not None)

    def drifted(self, wanted: Iterable[Sysctl]) -> tuple[tuple[str, str], ...]:
        """What somebody changed since `apply` left it right, by name, as a sentence."""
        return tuple(
            (setting.name, f"was set to {found}, set back to {setting.value}: {setting.why}")
            for setting in wanted
            if (found := self._drift(setting)) is not None
        )

    def restore(self, names: Container[str] | None = None) -> tuple[Trouble, ...]:
        """Gives back every value, or these, in reverse order; what fails stays recorded."""
        troubles = []
        for name, value in reversed(list(self._recorded.items())):
            if names is not None and name not in names:
                continue
            self._left.pop(name, None)
            trouble = self._write(name, value)
            if trouble is None or trouble.missing:
                del self._recorded[name]
            if trouble is not None:
                troubles.append(trouble)
        return tuple(troubles)

    def _heeds(self, interface: str) -> bool:
        setting = f"net.ipv6.conf.{interface}"
        if f"{setting}.accept_ra" in self._recorded:
            return True
        try:
            words = [read(f"{setting}.{each}", self._root) for each in ("accept_ra", "forwarding")]
        except OSError:  # it went away
            return False
        return words == ["1", "0"]

    def _drift(self, setting: Sysctl) -> str | None:
        """The value somebody else gave it, where that is not as wanted."""
        try:
            current = read(setting.name, self._root)
        except OSError:
            return None
        left = self._left.get(setting.name)
        return None if left in (None, current) or _is_right(setting, current) else current

    def _apply_one(self, setting: Sysctl) -> Trouble | None:
        trouble = self._set(setting)
        if trouble is None:
            with contextlib.suppress(OSError):
                self._left[setting.name] = read(setting.name, self._root)
        return trouble

    def _set(self, setting: Sysctl) -> Trouble | None:
        try:
            current = read(setting.name, self._root)
        except OSError as error:
            return _trouble(setting.name, error)
        if _is_right(setting, current):
            return None
        trouble = self._write(setting.name, setting.value)
        try:
            changed = read(setting.name, self._root) != current
        except OSError:  # the module went away with its settings
            return trouble
        if changed:  # also where the kernel made another of it
            self._recorded.setdefault(setting.name, current)
        return trouble

    def _write(self, name: str, value: str) -> Trouble | None:
        try:
            write(name, value, self._root)
            kept = read(name, self._root)
        except OSError as error:
            return _trouble(name, error)
        return None if kept == value else Trouble(name, f"the kernel made {kept} of {value}")


def read(name: str, root: Path = ROOT) -> str:
    """The value with single spaces between its numbers; OSError when it cannot be read."""
    return " ".join(_path(name, root).read_text().split())


def write(name: str, value: str, root: Path = ROOT) -> None:
    """What the kernel makes of it is told by `read`; OSError when it is refused."""
    _path(name, root).write_text(value + "\n")


def _path(name: str, root: Path) -> Path:
    return root / name.translate(_SWAPPED)


def _is_right(setting: Sysctl, current: str) -> bool:
    return current == setting.value or (setting.raise_only and _greater(current, setting.value))


def _greater(current: str, wanted: str) -> bool:
    return current.isdecimal() and int(current) >= int(wanted)


def _trouble(name: str, error: OSError) -> Trouble:
    if isinstance(error, FileNotFoundError):
        return Trouble(name, "this kernel or network namespace has none", missing=True)
    return Trouble(name, error.strerror or str(error))
