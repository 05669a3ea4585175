"""Two masters of one virtual router, as the better of the two hears it.

A duel begins with the advert of another master that is not better, and ends when that one gives
up, falls silent or proves better. Each is told once when it begins and once when it ends, however
many adverts lie between. Not told: the one advert by which a master that was just preempted says
goodbye (its last word, core/vrrp).
"""

from dataclasses import dataclass

from hadirector.core.address import Address
from hadirector.core.advert import RESIGN, Advert
from hadirector.core.listening import master_down_interval, seconds
from hadirector.core.settings.instances import Instance
from hadirector.core.vrrp_states import Standing, Tell

MOST = 8  # rivals watched at once: more of them are answered all the same, but not told


@dataclass(frozen=True, slots=True)
class Rival:
    """Another master. `patience`: after so many seconds without an advert it is none any more."""

    source: Address
    priority: int
    began_at: float
    heard_at: float
    patience: float
    told: bool


@dataclass(frozen=True, slots=True)
class Side:
    """This router's side: what it is, and how it stands now."""

    instance: Instance
    standing: Standing


class Duels:
    """The rivals of one master, by their address."""

    def __init__(self) -> None:
        self._rivals: dict[Address, Rival] = {}

    @property
    def rivals(self) -> tuple[Rival, ...]:
        """Those that were told of."""
        return tuple(rival for rival in self._rivals.values() if rival.told)

    def heard(
        self,
        advert: Advert,
        source: Address,
        own: int,
        me: Side,
        settled: bool,
        now: float,
    ) -> list[Tell]:
        """An advert that is not better than `own` came. `settled`: this router has been master
        for long enough that it is no last word."""
        known = self._rivals.get(source)
        if advert.priority == RESIGN:
            return self._end(source, f"{me.standing.called(source)} gave up (priority 0)", me, now)
        if known is None and len(self._rivals) >= MOST:
            return []
        instance = me.instance
        patience = master_down_interval(instance.version, 1, advert.interval)
        began_at = now if known is None else known.began_at
        again = known is not None and now >= known.heard_at + instance.advert_int / 2
        told = known is not None and known.told
        tells = settled or again
        self._rivals[source] = Rival(
            source, advert.priority, began_at, now, patience, told or tells
        )
        if told or not tells:
            return []
        reason = (
            f"{me.standing.called(source)} is master too: heard on {instance.interface} with "
            f"priority {advert.priority} against {own}: it has to yield"
        )
        inputs = {"from": source, "interface": instance.interface, "priority": str(own)}
        return [Tell("duel", reason, {**inputs, "heard": str(advert.priority)})]

    def pass_time(self, me: Side, now: float) -> list[Tell]:
        """End the duels with those that are not heard any more."""
        told: list[Tell] = []
        for rival in list(self._rivals.values()):
            if now - rival.heard_at > rival.patience:
                who = me.standing.called(rival.source)
                told += self._end(rival.source, f"{who} yielded: it is not heard any more", me, now)
        return told

    def give_up(self, why: str, me: Side, now: float) -> list[Tell]:
        """This router is no master any more: all duels are over."""
        told: list[Tell] = []
        for source in list(self._rivals):
            told += self._end(source, f"this node {why}", me, now)
        return told

    def _end(self, source: Address, how: str, me: Side, now: float) -> list[Tell]:
        rival = self._rivals.pop(source, None)
        if rival is None or not rival.told:
            return []
        lasted = seconds(rival.heard_at - rival.began_at)
        inputs = {"from": source, "interface": me.instance.interface, "lasted": lasted}
        return [Tell("duel_over", f"{how}; two masters were heard for {lasted} s", inputs)]


def sentence(rival: Rival, me: Side, now: float) -> str:
    """For the status, while it lasts."""
    lasts = seconds(round(now - rival.began_at, 1))
    return (
        f"two masters: {me.standing.called(rival.source)} advertises on {me.instance.interface} "
        f"with priority {rival.priority} for {lasts} s now; it yields as soon as it hears this node"
    )
