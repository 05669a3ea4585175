"""Is a server dead, or is this node deaf? For how long one that is silent stays in.

The checker says of a silent server whether nobody else answered since (`alone` in its verdict).
That may be the death of all, or a switch in between that forwards nothing for a while; in that
case the servers are well, and so are their connections. So those that served stay in

- for GRACE seconds, in which others that are dead as well would show it, and
- while others fell silent with it (within TOGETHER), for HOLD seconds: longer than a switch needs
  to learn its ports anew. A peer's word counts more, where it has one: as long as it reaches the
  server this node is deaf, and where it does not either the server is dead at once.
- One that answers again stays in while it is rising.

With one host alone nothing can be compared: silence is all that is known, and it is dead.
"""

import math
from collections.abc import Mapping, Set

from hadirector.core.address import Address, Endpoint
from hadirector.core.messages import Health, Verdict
from hadirector.core.server_health import combine
from hadirector.core.settings.checks import target_id
from hadirector.core.settings.services import VirtualService
from hadirector.core.weight import ServiceWeights

GRACE = 2.0  # seconds
TOGETHER = 10.0  # seconds
HOLD = 30.0  # seconds


class Deafness:
    """Of a node; `seen_elsewhere` says of servers that are out here whether a peer reaches them."""

    def __init__(self) -> None:
        self.seen_elsewhere: Mapping[str, bool] = {}
        self._hosts: dict[str, Address] = {}  # by target
        self._many = False
        self._alone: dict[str, float] = {}  # since when, by target
        self._apart: set[str] = set()  # those of them that no other fell silent with

    def copy(self) -> "Deafness":
        """Another one, to try something with."""
        twin = Deafness()
        twin.seen_elsewhere = self.seen_elsewhere
        twin._hosts, twin._many = self._hosts, self._many
        twin._alone, twin._apart = dict(self._alone), set(self._apart)
        return twin

    def keep(self, hosts: Mapping[str, Address]) -> None:
        """All targets that are probed, and their hosts."""
        self._hosts = dict(hosts)
        self._many = len(set(self._hosts.values())) > 1
        self._alone = {name: at for name, at in self._alone.items() if name in self._hosts}
        self._apart &= self._alone.keys()

    def hear(self, verdict: Verdict) -> None:
        """A verdict of one of them. Ten thousand may fall silent at once, and are told of again and
        again: what is known is not looked at twice, and the latest are the likeliest company."""
        name, since = verdict.target, verdict.since
        if not verdict.alone or not self._many:
            self._alone.pop(name, None)
            self._apart.discard(name)
            return
        if self._alone.get(name) == since:
            return
        if self._alone.pop(name, None) is None:
            self._apart.add(name)
        others = (other for other in reversed(self._alone) if self._falls_with(other, name, since))
        company = next(others, None)
        if company is not None:
            with_it = {other for other in self._apart if self._falls_with(other, name, since)}
            self._apart -= with_it | {name}
        self._alone[name] = since

    def _falls_with(self, other: str, name: str, since: float) -> bool:
        at = self._alone.get(other)
        together = at is not None and abs(at - since) <= TOGETHER
        return together and self._hosts[other] != self._hosts[name]

    def doubted(
        self,
        service: VirtualService,
        verdicts: Mapping[str, Verdict],
        before: ServiceWeights | None,
        now: float,
    ) -> Set[Endpoint]:
        """The servers of a service that stay in although they are down."""
        doubted = {
            server.server.endpoint
            for server in (before.servers if before else ())
            if (server.kept or server.spared)
            and combine(service.check, server.server.endpoint, verdicts).health is Health.RISING
        }
        for server in service.real_servers if self._alone else ():
            health = combine(service.check, server.endpoint, verdicts)
            if not health.alone:
                continue
            known = (verdicts.get(target_id(n, server.endpoint)) for n in service.check.checks)
            together = any(v is not None and self._has_company(v.target) for v in known)
            if now < self._until(f"{service.name}/{server.endpoint}", health.since, together):
                doubted.add(server.endpoint)
        return doubted

    def next_at(self, decided: ServiceWeights, now: float) -> float | None:
        """When it ends for one of a service's servers by time alone."""
        silent = [s.health.since for s in decided.servers if s.health.alone]
        ends = (since + wait for since in silent for wait in (GRACE, HOLD))
        return min((at for at in ends if at > now), default=None)

    def _has_company(self, target: str) -> bool:
        return target in self._alone and target not in self._apart

    def _until(self, server: str, since: float, together: bool) -> float:
        seen = self.seen_elsewhere.get(server)
        if seen is not None:
            return math.inf if seen else 0.0
        if not self._many:
            return 0.0
        return since + (HOLD if together else GRACE)
