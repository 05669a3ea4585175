"""All that a director knows of its node and its peers at one moment, for decisions and words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hadirector.core import messages
from hadirector.core.messages import RouterStateName
from hadirector.core.peers import Known, Presence, router_states, router_voices
from hadirector.core.settings.cluster import Config


@dataclass(frozen=True, slots=True)
class Situation:
    """`services`: whether quorum is met, by name; `paused`: IPVS is left alone."""

    config: Config
    routers: tuple[messages.Router, ...]
    peers: Mapping[str, Known]
    ready: messages.Ready
    services: Mapping[str, bool]
    paused: bool = False

    def routers_of(self, names: Iterable[str]) -> list[messages.Router]:
        """This node's routers of these instances."""
        wanted = set(names)
        return [router for router in self.routers if router.instance in wanted]

    def is_master(self, name: str) -> bool:
        """Whether this node is master of an instance, and means to stay it: in one family at
        least, where the two are not coupled."""
        return any(map(_stays, self.routers_of([name])))

    def is_whole_master(self, name: str) -> bool:
        """The same, in every family."""
        routers = self.routers_of([name])
        return bool(routers) and all(map(_stays, routers))

    def parts(self, name: str) -> tuple[str, ...]:
        """What this node is master of, as an order names it: the instance, or its routers where
        another node is master of the rest."""
        if self.is_whole_master(name):
            return (name,)
        return tuple(f"{name}/ipv{r.family}" for r in self.routers_of([name]) if _stays(r))

    def presence(self, version: str, standby: bool) -> Presence:
        """What peers are told of it; the shell adds incarnation and sequence."""
        return Presence(
            cluster=self.config.cluster,
            node=self.config.node,
            incarnation=0,
            sequence=0,
            digest=self.config.digest,
            version=version,
            ready=self.ready.ready,
            reason=self.ready.reason,
            routers=dict(router_states(self.routers)),
            services=dict(self.services),
            priorities={f"{r.instance}/ipv{r.family}": r.effective_priority for r in self.routers},
            standby=standby,
            voices=router_voices(self.routers),
            hears=tuple(name for name, known in self.peers.items() if known.alive),
        )


def _stays(router: messages.Router) -> bool:
    return router.state is RouterStateName.MASTER and not router.leaving
