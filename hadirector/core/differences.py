"""What a reload changed, in one line: `services: +dns ~web -old; check page; nothing else`."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TypeVar

from hadirector.core.settings.cluster import Config

T = TypeVar("T")

NAMED = ("services", "instances", "checks", "sync_groups", "scripts")  # tuples of named things
SILENT = ("path", "digest")  # differ without meaning
FIXED = ("node", "state_dir", "runtime_dir")  # what only a restart can change
SHOWN = 8  # names told of each kind


def size(config: Config) -> str:
    """How much there is."""
    return f"{len(config.services)} services, {len(config.instances)} instances"


def between(old: Config, new: Config) -> str:
    """What is new (+), changed (~) and gone (-), by kind and name; other keys by name."""
    told = [text for kind in NAMED if (text := _named(kind, old, new))]
    others = [
        field.name
        for field in fields(Config)
        if field.name not in (*NAMED, *SILENT)
        and getattr(old, field.name) != getattr(new, field.name)
    ]
    if others:
        told.append("changed: " + " ".join(others))
    return "; ".join(told) or "nothing changed"


def fixed(old: Config, new: Config) -> str:
    """Why no reload can take this, empty where one can."""
    names = [name for name in FIXED if getattr(new, name) != getattr(old, name)]
    if not names and new.api.socket != old.api.socket:
        names = ["api.socket"]
    if not names:
        return ""
    return f"{old.path}: {', '.join(names)} cannot change by reload: restart the daemon"


def sharing(old: Config, new: Config) -> Config:
    """`new`, in which the services and checks that are equal to those of `old` are those: who
    compares the two later compares 37,000 servers at a glance."""
    services = {service.name: service for service in old.services}
    checks = {check.name: check for check in old.checks}
    return replace(
        new,
        services=tuple(_known(services.get(one.name), one) for one in new.services),
        checks=tuple(_known(checks.get(one.name), one) for one in new.checks),
    )


def _known(old: T | None, new: T) -> T:
    return old if old is not None and old == new else new


def _named(kind: str, old: Config, new: Config) -> str:
    before, after = _by_name(getattr(old, kind)), _by_name(getattr(new, kind))
    marked = [
        *(f"+{name}" for name in after if name not in before),
        *(f"~{name}" for name in after if name in before and before[name] != after[name]),
        *(f"-{name}" for name in before if name not in after),
    ]
    if not marked:
        return ""
    more = f" and {len(marked) - SHOWN} more" if len(marked) > SHOWN else ""
    return f"{kind}: {' '.join(marked[:SHOWN])}{more}"


def _by_name(things: Iterable[object]) -> Mapping[str, object]:
    return {str(getattr(thing, "name", "")): thing for thing in things}
