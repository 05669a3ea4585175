"""What an instance tracks, and how its master announces itself.

A tracked thing is named in a list (its failure is a fault) or with a number (the priority changes
by it while it fails); `{eth1: fault, eth2: -20}` has both. A positive number is lawful and warned
of: keepalived adds it while the thing is well.
"""

from hadirector.config import scalars
from hadirector.config.problem import Wrong, shown
from hadirector.config.reader import Parse, Section
from hadirector.config.tree import Mapping, Scalar, Tree
from hadirector.core.settings.instances import (
    Garp,
    Tracked,
    TrackedFile,
)

_MOST = 253  # a delta beyond it could only mean a fault


def read_tracked(section: Section, key: str, parse: Parse[str]) -> tuple[Tracked, ...]:
    """The things tracked under a key; `parse` says which names are lawful."""
    if not isinstance(section.node.entries.get(key), Mapping):
        found = tuple(Tracked(name, None) for name in section.each(key, parse))
    else:
        found = _weighted(section, key, parse)
    if len({one.name for one in found}) < len(found):
        section.error(section.value_at(key), key, "names something twice: keep one")
    return found


def process(tree: Tree) -> str:
    """A program's name, or the path it is executed by."""
    value = scalars.text(tree)
    if "/" in value and not value.startswith("/"):
        raise Wrong(
            f"{shown(value)} is neither a name nor an absolute path: write haproxy, or "
            "/usr/sbin/haproxy"
        )
    if value.endswith("/"):
        raise Wrong(f"{shown(value)} is a directory: name a program")
    return value


def read_files(section: Section) -> tuple[TrackedFile, ...]:
    """`track_files: {/run/weight: 1}`: the number in the file times the factor."""
    below = section.section("track_files")
    if below is None:
        return ()
    files = []
    for path, at in below.node.keys_at.items():
        factor = below.read(path, scalars.integer(-_MOST - 1, _MOST + 1, but=0), None)
        try:
            lawful = scalars.path(Scalar(at, path, quoted=True))
        except Wrong as wrong:
            below.error(at, "", wrong.text)
            continue
        if factor is not None:
            files.append(TrackedFile(lawful, factor))
    return tuple(files)


def read_garp(section: Section) -> Garp:
    """How the master announces its addresses."""
    below = section.section("garp")
    if below is None:
        return Garp()
    garp = Garp(
        repeat=below.read("repeat", scalars.integer(1, 100), 5),
        delay=below.read("delay", scalars.duration(0, 3600), 5.0),
        refresh=below.read("refresh", scalars.duration(0, 86400), 60.0),
    )
    below.close()
    return garp


def _weighted(section: Section, key: str, parse: Parse[str]) -> tuple[Tracked, ...]:
    below = section.section(key)
    assert below is not None, "a mapping is a section"
    found = []
    for title, at in below.node.keys_at.items():
        weight = below.read(title, _weight, None)
        if weight is not None and weight > 0:
            text = f"raises the priority while it fails: write -{weight} to lower it then"
            below.warn(below.value_at(title), title, text)
        try:
            found.append(Tracked(parse(Scalar(at, title, quoted=True)), weight))
        except Wrong as wrong:
            below.error(at, "", wrong.text)
    return tuple(found)


def _weight(tree: Tree) -> int | None:
    if isinstance(tree, Scalar) and tree.text == "fault":
        return None
    try:
        return scalars.integer(-_MOST, _MOST, but=0)(tree)
    except Wrong as wrong:
        raise Wrong(f"{wrong.text}; write 'fault' where its failure is a fault") from None
