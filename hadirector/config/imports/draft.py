"""A configuration while it is being made of another program's, and what did not fit into it.

A `Line` of the source is `taken` when what it says went into the draft. What is neither taken nor
told of when the work is done is told then: nothing gets lost in silence.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import yaml

from hadirector.config.problem import one_line

_MOST = 500  # characters of a line or block that are told
_SECRETS = ("auth_pass", "password", "passwd", "key", "secret", "login")


@dataclass(slots=True)
class Line:
    """A line of the source as words; with braces also the lines between them, up to `end`."""

    file: str
    number: int
    words: tuple[str, ...]
    block: "list[Line] | None" = None
    end: int = 0
    taken: bool = False

    @property
    def word(self) -> str:
        """The first, in lower case; empty when there is none."""
        return self.words[0].lower() if self.words else ""

    @property
    def quoted(self) -> str:
        """The line as told of; what may be a password is not shown."""
        secret = self.word in _SECRETS
        return _quoted(f"{self.word} ..." if secret else " ".join(self.words))

    @property
    def rest(self) -> tuple[str, ...]:
        """The others."""
        return self.words[1:]

    def take(self) -> "Line":
        """What it says is carried over."""
        self.taken = True
        return self


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """Something the operator must know, about a line of a source; line 0: about all of it."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return one_line(f"{where}: {self.text}")


@dataclass(slots=True)
class Draft:
    """The parts of our configuration in the order in which they are written."""

    source: str
    top: dict[str, object] = field(default_factory=dict)
    nodes: dict[str, object] = field(default_factory=dict)
    defaults: dict[str, object] = field(default_factory=dict)  # of vrrp
    instances: dict[str, dict[str, object]] = field(default_factory=dict)
    sync_groups: dict[str, list[str]] = field(default_factory=dict)
    scripts: dict[str, dict[str, object]] = field(default_factory=dict)
    hooks: list[object] = field(default_factory=list)
    connection_sync: dict[str, object] = field(default_factory=dict)
    timeouts: dict[str, object] = field(default_factory=dict)
    checks: dict[str, dict[str, object]] = field(default_factory=dict)
    services: dict[str, dict[str, object]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def tell(self, line: Line, text: str) -> None:
        """About a line, which counts as told of."""
        line.taken = True
        self.told.append(Told(line.file, line.number, text))

    def refuse(self, line: Line, reason: str) -> None:
        """The line is not carried over, and neither is its block."""
        block = f" {contents(line.block)}" if line.block else ""
        _take_all(line.block)
        self.tell(line, f"not carried over: {line.quoted}{block}: {reason}")

    def need_not(self, line: Line, reason: str) -> None:
        """The line says what holds anyway, or what is not needed here."""
        self.tell(line, f"not needed: {line.quoted}: {reason}")

    def left_over(self, lines: Iterable[Line]) -> None:
        """Tell of every line that nobody took; of a block that nobody took as a whole."""
        for line in lines:
            if not line.taken:
                text = f"not carried over: {line.quoted}"
                if line.block:
                    text += f" up to line {line.end}: {contents(line.block)}"
                self.told.append(Told(line.file, line.number, text))
            elif line.block:
                self.left_over(line.block)

    def check_named(self, hint: str, check: dict[str, object]) -> str:
        """The name of a check that is just so, new or known."""
        for name, known in self.checks.items():
            if known == check:
                return name
        name = unused(hint, self.checks)
        self.checks[name] = check
        return name

    def write(self) -> str:
        """Our YAML."""
        vrrp: dict[str, object] = {
            "defaults": self.defaults,
            "instances": self.instances,
            "sync_groups": self.sync_groups,
        }
        parts: dict[str, object] = {
            "nodes": self.nodes,
            "vrrp": {key: part for key, part in vrrp.items() if part},
            "scripts": self.scripts,
            "hooks": self.hooks,
            "connection_sync": self.connection_sync,
            "timeouts": self.timeouts,
            "checks": self.checks,
            "virtual_services": self.services,
        }
        whole = self.top | {key: part for key, part in parts.items() if part}
        return f"# Imported from {one_line(self.source)}.\n" + "".join(_sections(whole))


def _take_all(block: list[Line] | None) -> None:
    for line in block or ():
        line.taken = True
        _take_all(line.block)


def contents(block: list[Line]) -> str:
    """What is in a block that is not carried over, in one line."""
    return _quoted(_joined(block))


def _quoted(text: str) -> str:
    return f"'{text}'" if len(text) <= _MOST else f"'{text[:_MOST]}...'"


def _joined(block: list[Line]) -> str:
    return "; ".join(
        line.quoted.strip("'") + (f" {{ {_joined(line.block)} }}" if line.block else "")
        for line in block
    )


def _sections(whole: dict[str, object]) -> Iterator[str]:
    for key, part in whole.items():
        yield "\n" + yaml.dump(
            {key: part},
            Dumper=_Dumper,
            sort_keys=False,
            default_flow_style=None,
            width=100,
            allow_unicode=True,
        )


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, and nothing is written as an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def unused(hint: str, taken: Iterable[str]) -> str:
    """The hint as a lawful name, with a number behind it where it is taken."""
    base = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in hint)
    base = base.strip("-.")[:55] or "unnamed"
    known = set(taken)
    name, count = base, 1
    while name in known:
        count += 1
        name = f"{base}-{count}"
    return name


def seconds(text: str) -> str | None:
    """A number of seconds, with decimals, as a duration of ours; None when it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    if not 0 <= value <= 1e8:
        return None
    if value and value < 1:
        return f"{value * 1000:g}ms"
    return f"{value:g}s" if value == int(value) and value < 1e6 else f"{value:.9g}s"


def integer(text: str, low: int, high: int) -> int | None:
    """A whole number within bounds; None when it is none."""
    if not text.isascii() or not text.lstrip("-").isdigit() or len(text) > 19:
        return None
    value = int(text)
    return value if low <= value <= high else None
