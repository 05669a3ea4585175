"""What keepalived's instances track: interfaces, scripts, files and processes.

A weight above 0 raises the priority while a thing is well, one below 0 lowers it while it is not,
and without one its failure is a fault. Ours know only the last two: what would raise it is added
to the priority for good, and lowers it while the thing fails. On the wire that is the same.
"""

from hadirector.config.imports.commands import argv
from hadirector.config.imports.director import Director, Values
from hadirector.config.imports.draft import Draft, Line, integer, seconds, unused

_KEYS = {
    "track_interface": "track_interfaces",
    "track_script": "track_scripts",
    "track_process": "track_processes",
    "track_file": "track_files",
}
_MOST = 254
RAISED = "raised"  # of an instance while it is made: what is to be added to its priority


class Tracking:
    """The things by name, as their own blocks define them."""

    def __init__(self, draft: Draft, director: Director) -> None:
        self._draft = draft
        self._director = director
        self._weights: dict[str, int] = {}  # of scripts
        self._files: dict[str, tuple[str, int]] = {}  # path and weight
        self._processes: dict[str, tuple[str, int]] = {}  # the program and weight

    def script(self, line: Line) -> None:
        """`vrrp_script NAME { script, interval, timeout, rise, fall, weight }`."""
        name = line.rest[0] if line.rest else "script"
        made: Values = {"interval": "1s", "rise": 1, "fall": 1}
        command: list[str] | None = None
        for one in line.take().block or ():
            match one.word, one.rest:
                case "script", (_, *_):
                    command = argv(" ".join(one.take().rest))
                case ("interval" | "timeout") as key, (text,) if (value := seconds(text)) != "0s":
                    made[key] = value or "1s"
                    one.take()
                case ("rise" | "fall") as key, (text,) if count := integer(text, 1, 1000):
                    made[key] = count
                    one.take()
                case "weight", (text, *_) if (weight := integer(text, -253, 253)) is not None:
                    self._weights[name] = weight
                    one.take()
                case "user", _:
                    self._draft.need_not(one, "scripts run as the daemon's user")
        if command is None:
            self._draft.refuse(line, "it has no command that could be run")
            return
        made.setdefault("timeout", made["interval"])
        self._director.scripts[unused(name, ())] = {"command": command} | made
        if command[0] == "/bin/bash":
            self._draft.tell(line, "its command is for bash: /dev/tcp is nobody else's")

    def thing(self, line: Line) -> None:
        """`vrrp_track_file`, `track_file` and `vrrp_track_process NAME { ... }`."""
        name = line.rest[0] if line.rest else ""
        kind = "process" if line.word == "vrrp_track_process" else "file"
        value, weight = "", 1 if kind == "file" else 0
        for one in line.take().block or ():
            match one.word, one.rest:
                case ("file" | "process") as word, (text,) if word == kind:
                    value = one.take().rest[0]
                case "weight", (text, *_) if (found := integer(text, -_MOST, _MOST)) is not None:
                    weight = found
                    one.take()
        if not value:
            self._draft.refuse(line, f"it names no {kind}, or one with arguments")
        elif kind == "file":
            self._files[name] = (value, weight)
        else:
            self._processes[name] = (value, weight)

    def knows(self, line: Line) -> bool:
        """Whether a line tracks something."""
        return line.word in _KEYS and line.block is not None

    def add(self, line: Line, made: Values) -> None:
        """To an instance what a block of references says."""
        for one in line.take().block or ():
            name, weight, odd = _reference(one)
            found = self._resolved(line.word, name)
            if found is None or odd:
                reason = f"{odd} is not known here" if odd else f"nothing defines {name}"
                self._draft.refuse(one, reason)
                continue
            what, default = found
            self._note(one, made, _KEYS[line.word], what, default if weight is None else weight)

    def _resolved(self, kind: str, name: str) -> tuple[str, int] | None:
        """What is tracked, and the weight of its definition."""
        match kind:
            case "track_interface":
                return name, 0
            case "track_script":
                known = unused(name, ())
                return (known, self._weights.get(name, 0)) if self._has(known) else None
            case "track_file":
                return self._files.get(name)
        return self._processes.get(name)

    def _has(self, script: str) -> bool:
        return script in self._director.scripts

    def _note(self, line: Line, made: Values, key: str, what: str, weight: int) -> None:
        tracked = made.setdefault(key, {})
        assert isinstance(tracked, dict)
        line.take()
        if key == "track_files":
            if weight:
                tracked[what] = weight
            else:
                self._draft.refuse(line, "a file's number has a weight here")
            return
        tracked[what] = -abs(weight) if weight else "fault"
        if weight > 0:
            before = made.get(RAISED, 0)
            made[RAISED] = weight + (before if isinstance(before, int) else 0)
            text = (
                f"raised the priority by {weight} while well: added, and taken off while it fails"
            )
            self._draft.tell(line, text)


def _reference(line: Line) -> tuple[str, int | None, str]:
    """Name, weight and what is not known of `NAME [weight N]`."""
    name, *words = line.words
    if len(words) >= 2 and words[0] == "weight":
        weight = integer(words[1], -_MOST, _MOST)
        rest = words[2:] if weight is not None else words
        return name, weight, " ".join(rest)
    return name, None, " ".join(words)
