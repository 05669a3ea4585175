"""What one director's files say, before it is merged with what its peers' say."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hadirector.config.imports.commands import argv
from hadirector.config.imports.draft import Draft, Line

Values = dict[str, object]
EVENTS = {
    **{"notify_master": ("master",), "notify_backup": ("backup",), "notify_fault": ("fault",)},
    **{"notify_stop": ("stopped",), "notify": ("master", "backup", "fault", "stopped")},
    **{"notify_up": ("server_up",), "notify_down": ("server_down",)},
    **{"quorum_up": ("quorum_gained",), "quorum_down": ("quorum_lost",)},
}


@dataclass(slots=True)
class Director:
    """Of one file with its includes; `source` and `peers` are of its unicast adverts."""

    path: str
    name: str = ""
    instances: dict[str, Values] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    scripts: dict[str, Values] = field(default_factory=dict)
    services: dict[str, Values] = field(default_factory=dict)
    hooks: list[Values] = field(default_factory=list)
    sync: Values = field(default_factory=dict)
    timeouts: Values = field(default_factory=dict)
    unicast: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # by instance


def add_hook(line: Line, draft: Draft, director: Director) -> None:
    """A notifier's command, for events of every instance or service."""
    command = argv(line.words[1]) if len(line.words) > 1 else None
    if command is None:
        draft.refuse(line, "no command that could be run")
        return
    hook: Values = {"events": list(EVENTS[line.word]), "command": command}
    if hook not in director.hooks:
        director.hooks.append(hook)
    text = "runs for all instances and services: HADIRECTOR_SUBJECT in its environment says which"
    draft.tell(line, text)


Handler = Callable[[Line], None]


def each(lines: "list[Line] | None", handlers: dict[str, Handler]) -> None:
    """Hands each line to the handler of its first word; lines without one stay as they are."""
    for line in lines or ():
        handler = handlers.get(line.word)
        if handler is not None:
            handler(line)
