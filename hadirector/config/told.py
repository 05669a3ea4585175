"""Checks whose answer comes from elsewhere: `exec` from a program, `external` through the API,
`agent` from a port of its own."""

import re
from dataclasses import replace

from hadirector.config import scalars
from hadirector.config.problem import Wrong, shown
from hadirector.config.reader import Section
from hadirector.config.tree import Tree
from hadirector.core.settings.checks import Check, CheckType

EXEC_INTERVAL, EXEC_TIMEOUT = 5.0, 2.0  # seconds: a program costs a fork and an exec, at least
MAX_AGE = 60.0  # seconds
_HOLE = re.compile(r"\{([a-z_]*)\}")
_HOLES = ("address", "port")


def read(section: Section, check: Check) -> Check:
    """The check with what its type alone has; any other type has nothing more."""
    match check.type:
        case CheckType.EXEC:
            return _exec(section, check)
        case CheckType.EXTERNAL:
            max_age = section.read("max_age", scalars.duration(0.1, 86400), MAX_AGE)
            return replace(check, max_age=max_age)
        case CheckType.AGENT if check.port is None:
            section.error(section.at, "", "an agent has a port of its own: add 'port: 8888'")
    return check


def _exec(section: Section, check: Check) -> Check:
    """`command`, with {address} and {port} in its arguments, and what its exit status says."""
    command = section.required("command", _command, "[/usr/local/bin/check, '{address}']") or ()
    share = section.read("exit", scalars.word("state", "share"), "state") == "share"
    return replace(check, command=command, exit_share=share)


def _command(tree: Tree) -> tuple[str, ...]:
    argv = scalars.arguments(tree)
    for argument in argv:
        for name in _HOLE.findall(argument):
            if name not in _HOLES:
                raise Wrong(
                    f"{shown('{' + name + '}')} is not known: write {{address}} or {{port}}"
                )
    return argv
