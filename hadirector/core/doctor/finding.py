"""What doctor says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `code` names its kind for programs; `fix` are commands (or edits, where no command
    does it) in order; `again` is the command that shows whether it is mended."""

    code: str
    subject: str
    what: str
    why: str
    fix: tuple[str, ...]
    again: str


@dataclass(frozen=True, slots=True)
class NotChecked:
    """A check, or a part of one, that could not be done, and why."""

    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of one examination; `checked` are the checks done, in words; `limits` what nobody can
    mend."""

    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    checked: tuple[str, ...]
    limits: tuple[str, ...] = ()


def run_again(command: str = "") -> str:
    """The usual last line of a finding."""
    return f"{command}; then hadirector doctor" if command else "hadirector doctor"
