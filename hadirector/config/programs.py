"""`scripts:` and `hooks:`: the commands that a node runs, as lists of arguments without a shell."""

from hadirector.config import scalars
from hadirector.config.problem import listed
from hadirector.config.reader import Section
from hadirector.core.duration import spell
from hadirector.core.settings.cluster import Hook, Script
from hadirector.core.settings.instances import Instance

EVENTS = (
    *("master", "backup", "fault", "stopped"),
    *("server_down", "server_up", "quorum_lost", "quorum_gained"),
)
_EXAMPLE = "[/usr/local/bin/program, argument]"


def read_scripts(root: Section) -> tuple[Script, ...]:
    """Every tracked script; one without a command is told and left out."""
    scripts = []
    for name, section in root.named("scripts"):
        command = section.required("command", scalars.arguments, _EXAMPLE)
        interval = section.read("interval", scalars.duration(0.1, 86400), 5.0)
        timeout = section.read("timeout", scalars.duration(0.1, 3600), min(2.0, interval))
        rise = section.read("rise", scalars.integer(1, 1000), 2)
        fall = section.read("fall", scalars.integer(1, 1000), 2)
        if timeout > interval:
            text = f"longer than interval, {spell(interval)}: a hung script runs less often"
            section.warn(section.value_at("timeout"), "timeout", text)
        section.close()
        if command is not None:
            scripts.append(Script(name, command, interval, timeout, rise, fall))
    return tuple(scripts)


def read_hooks(root: Section) -> tuple[Hook, ...]:
    """Every hook, in the order they are run."""
    hooks = []
    for item in root.items("hooks"):
        section = root.under("hooks", item)
        if section is None:
            continue
        if not section.has("events"):
            section.error(section.at, "", "'events' is missing: add 'events: [master, backup]'")
        events = section.each("events", scalars.word(*EVENTS))
        if not events and not section.items("events") and section.has("events"):
            section.error(section.value_at("events"), "events", f"is empty: name {listed(EVENTS)}")
        if len(set(events)) < len(events):
            section.error(section.value_at("events"), "events", "names one twice: keep one")
        command = section.required("command", scalars.arguments, _EXAMPLE)
        timeout = section.read("timeout", scalars.duration(0.1, 3600), 5.0)
        section.close()
        if command is not None:
            hooks.append(Hook(events, command, timeout))
    return tuple(hooks)


def lint(root: Section, scripts: tuple[Script, ...], instances: tuple[Instance, ...]) -> None:
    """Scripts that are never run."""
    tracked = {one.name for instance in instances for one in instance.track_scripts}
    whole = root.section("scripts")
    for script in scripts:
        if script.name not in tracked and whole is not None:
            at = whole.key_at(script.name)
            root.warn(at, f"scripts.{script.name}", "no instance tracks it: it is never run")
