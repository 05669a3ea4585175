"""What one seed runs: a cluster's configuration, and which faults may happen to it.

Swarm testing: a seed leaves many kinds of faults out, since a cluster beaten with all of them at
once shows only that it is beaten.
"""

import random
from dataclasses import dataclass, replace

from hadirector.core.address import Address
from hadirector.core.settings.cluster import Config, LeaseMode, Node, VipLease
from hadirector.core.settings.instances import (
    Garp,
    Instance,
    Preempt,
    SyncGroup,
    Tracked,
    Unicast,
    VirtualAddress,
)
from tests.core.farm import CONFIG
from tests.sim.host import own_addresses

FRONT, INSIDE = "front", "inside"
VIP = VirtualAddress(Address("192.0.2.10"), 24, "eth0")
VIP6 = VirtualAddress(Address("2001:db8::10"), 64, "eth0")
ELSEWHERE = VirtualAddress(Address("10.0.9.1"), 24, "eth1")  # not where the election runs
GATEWAY = VirtualAddress(Address("10.0.1.254"), 24, "eth1")
ADDED = VirtualAddress(Address("192.0.2.11"), 24, "eth0")  # by a reload

LAYOUTS = ("one", "one", "dual", "uncoupled", "two", "group")
# Seconds, with how often they are drawn: the shorter, the more events; the longer, the more time.
INTERVALS = {0.01: 1, 0.03: 4, 0.1: 15, 0.3: 65, 1.0: 15, 40.0: 0.3}
GARP = Garp(repeat=5, delay=1.0, refresh=4.0)  # refreshed within the quiet of an episode


@dataclass(frozen=True, slots=True)
class Scenario:
    """Drawn from a seed. `priorities` are the nodes' in order; `inside_reversed` gives the second
    instance to the other node (active-active)."""

    seed: int
    names: tuple[str, ...]
    layout: str
    version: int
    advert_int: float
    priorities: tuple[int, ...]
    inside_reversed: bool
    preempt: Preempt
    preempt_delay: float
    startup_delay: float | None
    lease: VipLease
    unicast: bool
    track: bool
    keyed: bool
    kinds: tuple[str, ...]

    @property
    def patience(self) -> float:
        """The longest any backup waits for a master, seconds."""
        skew = 255 / 256 * (self.advert_int if self.version == 3 else 1.0)
        return 3 * self.advert_int + skew

    @property
    def coupled(self) -> bool:
        """Whether all routers of a node move together."""
        return self.layout in ("one", "dual", "group")

    def config(self, node: str) -> Config:
        """What one node runs at first."""
        index = self.names.index(node)
        instances = [self._instance(FRONT, index)]
        if self.layout in ("two", "group"):
            instances.append(self._instance(INSIDE, index))
        groups = (SyncGroup("director", (FRONT, INSIDE)),) if self.layout == "group" else ()
        return replace(
            CONFIG,
            node=node,
            nodes=tuple(
                Node(name, priority, own_addresses(i, "eth0")[0])
                for i, (name, priority) in enumerate(zip(self.names, self.priorities, strict=True))
            ),
            key_file="/etc/hadirector/cluster.key" if self.keyed else None,
            vip_lease=self.lease,
            instances=tuple(instances),
            sync_groups=groups,
        )

    def _instance(self, name: str, index: int) -> Instance:
        ranks = self.priorities
        if name == INSIDE and self.inside_reversed:
            ranks = ranks[::-1]
        interface = "eth0" if name == FRONT else "eth1"
        return Instance(
            name=name,
            interface=interface,
            virtual_router_id=51 if name == FRONT else 52,
            priority=ranks[index],
            version=self.version,
            advert_int=self.advert_int,
            virtual_addresses=self._addresses(name),
            excluded_addresses=(ELSEWHERE,) if name == FRONT and self.layout == "one" else (),
            couple=self.layout != "uncoupled",
            preempt=self.preempt,
            preempt_delay=self.preempt_delay,
            startup_delay=self.startup_delay,
            garp=GARP,
            unicast=self._unicast(interface, index),
            track_interfaces=(Tracked("eth1", -60),) if self.track else (),
            peer_priorities=tuple(p for i, p in enumerate(ranks) if i != index),
        )

    def _addresses(self, name: str) -> tuple[VirtualAddress, ...]:
        if name == INSIDE:
            return (GATEWAY,)
        return (VIP, VIP6) if self.layout in ("dual", "uncoupled") else (VIP,)

    def _unicast(self, interface: str, index: int) -> Unicast | None:
        if not self.unicast:
            return None
        sources = [own_addresses(i, interface)[0] for i in range(len(self.names))]
        peers = tuple(s for i, s in enumerate(sources) if i != index)
        return Unicast(sources[index], peers)


def draw(seed: int, kinds: tuple[str, ...]) -> Scenario:
    """The scenario of a seed, with some of the `kinds` of faults."""
    rng = random.Random(f"scenario {seed}")
    count = 3 if rng.random() < 0.15 else 2
    version = 2 if rng.random() < 0.1 else 3
    layout = rng.choice(LAYOUTS if version == 3 else ("one", "one", "two", "group"))
    (interval,) = rng.choices(tuple(INTERVALS), tuple(INTERVALS.values()))
    if version == 2:
        interval = rng.choice((1.0, 1.0, 1.0, 2.0))
    return Scenario(
        seed=seed,
        names=("lb1", "lb2", "lb3")[:count],
        layout=layout,
        version=version,
        advert_int=interval,
        priorities=rng.choice(
            (
                (150, 100, 50),
                (250, 200, 150),
                (100, 99, 98),
                (100, 100, 100),
                (90, 200, 100),
                (255, 100, 99),
            )
        )[:count],
        inside_reversed=layout == "two" and rng.random() < 0.5,
        preempt=rng.choice(tuple(Preempt)),
        preempt_delay=rng.choice((0.0, 0.0, 0.0, 2.0)),
        startup_delay=rng.choice((None, None, 0.0, 1.0)),
        lease=rng.choice(
            (VipLease(), VipLease(), VipLease(LeaseMode.SECONDS, 5.0), VipLease(LeaseMode.OFF))
        ),
        unicast=version == 3 and layout in ("one", "two", "group") and rng.random() < 0.15,
        track=rng.random() < 0.3,
        keyed=random.Random(f"key {seed}").random() < 0.6,
        kinds=tuple(kind for kind in kinds if rng.random() < 0.4) or kinds,
    )
