"""Whether a server that fell silent is alone with it: if nobody else answers this node either, the
trouble may be the node's own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hadirector.core.address import Address
from hadirector.core.checker_messages import Verdict
from hadirector.core.settings.checks import TOLD, Target


class Silences:
    """When servers answered last, and which silent ones have nobody to compare with."""

    def __init__(self) -> None:
        self._last: tuple[str, float] = ("", -1.0)
        self._other: tuple[str, float] = ("", -1.0)  # the last of another address than that
        self._alone: dict[str, Address] = {}  # targets

    def answered(self, server: Address, now: float) -> list[str]:
        """This one did; the targets of others that are not alone any more."""
        if server != self._last[0]:
            self._other = self._last
        self._last = (server, now)
        freed = [target for target, silent in self._alone.items() if silent != server]
        for target in freed:
            del self._alone[target]
        return freed

    def falls_silent(self, target: str, server: Address, since: float) -> bool:
        """This target is out and silent since then; whether it is alone."""
        other = self._other if self._last[0] == server else self._last
        if other[1] >= since:
            self._alone.pop(target, None)
            return False
        self._alone[target] = server
        return True

    def forget(self, target: str) -> None:
        """It answered, or is no longer probed."""
        self._alone.pop(target, None)

    def keep(self, targets: "set[str] | frozenset[str]") -> None:
        """The others are no longer probed."""
        for target in self._alone.keys() - targets:
            self.forget(target)


@dataclass(slots=True)
class _Silence:
    """Of a target: the start of its first probe without an answer, the process that probes it, and
    when a server of another process answered since."""

    since: float
    shard: int
    company: float | None = None


class Shards:
    """The same where several processes probe, none of which knows whether a server of another one
    answers: a verdict of `alone` is one of its own share only."""

    def __init__(self) -> None:
        self._answered: dict[int, float] = {}  # last, by process
        self._silent: dict[str, _Silence] = {}  # by target
        self._lonely: set[str] = set()  # those of them without company
        self._probed: frozenset[str] = frozenset()

    def keep(self, targets: Iterable[Target]) -> None:
        """All that is probed."""
        self._probed = frozenset(t.id for t in targets if t.check.type not in TOLD)
        for name in self._silent.keys() - self._probed:
            del self._silent[name]
        self._lonely &= self._silent.keys()

    def judge(self, shard: int, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        """What a process says, with `alone` as seen over all of them. One that was asked before
        somebody answered stays alone until it is asked again: the network may just be back."""
        answered = before = self._answered.get(shard, -1.0)
        fresh: list[str] = []
        for verdict in verdicts:
            name = verdict.target
            if verdict.last is None or name not in self._probed:
                continue
            if verdict.last.answered:
                answered = max(answered, verdict.last.at)
                self._silent.pop(name, None)
                self._lonely.discard(name)
                continue
            silence = self._silent.get(name)
            if silence is None:
                silence = self._silent[name] = _Silence(_began(verdict), shard)
                self._lonely.add(name)
                fresh.append(name)
            elif silence.shard != shard:
                silence.shard = shard
                fresh.append(name)
        self._answered[shard] = answered
        # When thousands fall silent at once nobody answers: then only the new ones are looked at.
        for name in (*self._lonely,) if answered > before else fresh:
            self._look_for_company(name)
        return tuple(
            replace(verdict, alone=False) if verdict.alone and self._seen(verdict) else verdict
            for verdict in verdicts
        )

    def _look_for_company(self, name: str) -> None:
        silence = self._silent.get(name)
        if silence is None or silence.company is not None:
            return
        others = (at for by, at in self._answered.items() if by != silence.shard)
        latest = max(others, default=-1.0)
        if latest >= silence.since:
            silence.company = latest
            self._lonely.discard(name)

    def _seen(self, verdict: Verdict) -> bool:
        silence = self._silent.get(verdict.target)
        if silence is None or silence.company is None:
            return False
        return _began(verdict) >= silence.company


def _began(verdict: Verdict) -> float:
    last = verdict.last
    assert last is not None
    return last.at - last.ms / 1000
