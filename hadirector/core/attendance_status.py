"""Tracked things and hooks as status, `explain` and the trouble list show them."""

from hadirector.core.attendance import Attendance
from hadirector.core.tracking import effect_of

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def tracked(attendance: Attendance, instance: str, unix_offset: float) -> Json:
    """By what an instance tracks: how it is, and what that does to the instance. `weight` is
    `fault`, the delta on a failure, or a file's factor; `effect` is empty while it does nothing."""
    tracking = attendance.tracking
    found: dict[str, Json] = {}
    for tie in tracking.ties:
        if tie.instance == instance:
            condition = tracking.conditions[tie.thing]
            found[str(tie.thing)] = {
                "health": condition.health.value,
                "since": condition.state.since + unix_offset,
                "weight": "fault" if tie.weight is None else tie.weight,
                "effect": effect_of(tie, condition).words,
                "reason": tracking.reason(tie.thing),
            }
    return found


def hooks(attendance: Attendance) -> Json:
    """Each hook: what it waits to be told of, and what fails."""
    return [
        {
            "command": list(shown.hook.command),
            "events": list(shown.hook.events),
            "waiting": shown.waiting,
            "running": shown.running or None,
            "failing": list(shown.failing),
        }
        for shown in attendance.hooks.shown()
    ]


def sentences(attendance: Attendance) -> list[tuple[str, str, bool]]:
    """For `explain`: `front/script disk`, how it is, and whether it impairs nothing."""
    tracking = attendance.tracking
    told = []
    for tie in tracking.ties:
        condition = tracking.conditions[tie.thing]
        effect = effect_of(tie, condition)
        text = f"{condition.health.value}: {tracking.reason(tie.thing)}"
        text = f"{text}: {effect.words}" if effect.words else text
        told.append((tie.subject, text, not effect.impairs))
    return told


def trouble(attendance: Attendance) -> list[str]:
    """What somebody must look at: what impairs an instance, hooks that fail, a dead runner."""
    tracking = attendance.tracking
    told = []
    for tie in tracking.ties:
        effect = effect_of(tie, tracking.conditions[tie.thing])
        if effect.impairs:
            told.append(f"{tie.subject}: {tracking.reason(tie.thing)}: {effect.words}")
    told += [f"hook {text}" for shown in attendance.hooks.shown() for text in shown.failing]
    if attendance.runner is not None and attendance.wanted and not attendance.runner.alive:
        told.append("the runner is dead: what is tracked stays as it was seen last, hooks wait")
    return told
