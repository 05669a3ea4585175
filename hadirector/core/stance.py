"""What an operator wants of this node beyond its configuration: standby, what it holds back from
after a handover, and that IPVS is left alone. It outlives every process and a reboot, in a file of
the state directory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hadirector.core import coupling, messages
from hadirector.core.settings.cluster import Config


@dataclass(frozen=True, slots=True)
class Since:
    """When something began, CLOCK_BOOTTIME seconds, and why."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Until when nothing is written to IPVS, CLOCK_BOOTTIME seconds, and why."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Stance:
    """`standby` None: on duty. `holds` by instance. `pause` None: IPVS is looked after."""

    standby: Since | None = None
    holds: Mapping[str, Since] = field(default_factory=dict)
    pause: Pause | None = None

    def level(self) -> messages.Stance:
        """What the election is told."""
        return messages.Stance(self.standby is not None, tuple(self.holds))

    def holding(self, names: Iterable[str], since: Since) -> "Stance":
        """Holding back from these as well."""
        return replace(self, holds={**self.holds, **dict.fromkeys(names, since)})

    def without(self, names: Iterable[str]) -> "Stance":
        """Without the holds of these."""
        gone = set(names)
        return replace(self, holds={n: s for n, s in self.holds.items() if n not in gone})

    def in_standby(self, since: Since | None) -> "Stance":
        """With standby begun or ended."""
        return replace(self, standby=since)

    def in_pause(self, pause: Pause | None) -> "Stance":
        """With a pause begun or ended."""
        return replace(self, pause=pause)


def moved_by(config: Config, subject: str) -> tuple[str, ...]:
    """The instances that an order about `subject` moves, in the configuration's order: those of
    the name and all that move with them; "" means every one. Empty: there is no such subject."""
    members = {g.name: g.instances for g in config.sync_groups}
    asked = members.get(subject, (subject,))
    tied = coupling.groups(config.instances, config.sync_groups)
    moved = {
        other
        for (name, _), together in tied.items()
        if subject == "" or name in asked
        for other, _ in together
    }
    return tuple(i.name for i in config.instances if i.name in moved)
