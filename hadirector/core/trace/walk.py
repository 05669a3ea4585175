"""Packets sorted into the legs of one connection's way.

    client --TO_DIRECTOR--> director --TO_SERVER--> server
    client <--TO_CLIENT---- director <-FROM_SERVER- server      NAT
    client <------------ not by this host --------- server      direct routing, tunnels

NAT keeps the client's address and port, so these name the connection on every leg.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Forward
from hadirector.core.trace.packets import TCP, ArpSeen, Outer, Scene, Seen, Spot, Stage


class Leg(Enum):
    """Which way a packet went."""

    TO_DIRECTOR = "client to director"
    TO_SERVER = "director to server"
    FROM_SERVER = "server to director"
    TO_CLIENT = "director to client"
    UNCHANGED = "director to client, unchanged"  # an answer forwarded without IPVS's hand on it
    ERROR = "error"  # ICMP about one of the others


@dataclass(frozen=True, slots=True)
class Step:
    """One packet on its leg; `again`: the same was seen there before."""

    packet: Seen
    leg: Leg
    again: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of one connection so far. `server` is None until a packet left for one."""

    stage: Stage
    client: Endpoint
    virtual: Endpoint
    protocol: int
    server: Spot | None
    steps: tuple[Step, ...]
    arp: tuple[ArpSeen, ...]

    def on(self, leg: Leg) -> list[Seen]:
        """The packets of a leg."""
        return [step.packet for step in self.steps if step.leg is leg]

    @property
    def acknowledged(self) -> bool:
        """The client has heard the server: it goes on after its SYN."""
        return any("A" in p.flags and "S" not in p.flags for p in self.on(Leg.TO_DIRECTOR))

    @property
    def asked(self) -> int:
        """Bytes the client sent."""
        return sum(s.packet.size for s in self.steps if s.leg is Leg.TO_DIRECTOR and not s.again)

    @property
    def answered(self) -> int:
        """Bytes that went back to the client through this host."""
        return sum(s.packet.size for s in self.steps if s.leg is Leg.TO_CLIENT and not s.again)

    @property
    def over(self) -> bool:
        """It has ended: nothing more is to be expected."""
        if self.protocol != TCP:
            return bool(self.on(Leg.TO_CLIENT))
        ends = [s.packet for s in self.steps if set(s.packet.flags) & {"F", "R"}]
        if any("R" in packet.flags for packet in ends):
            return True
        directions = {packet.source == self.client for packet in ends}
        around = self.server is not None and self.server.forward is not Forward.NAT
        return directions == {True, False} or (around and True in directions)


def follow(scene: Scene, packets: Sequence[Seen], arp: Sequence[ArpSeen] = ()) -> Walk | None:
    """The first connection the client opens (or, where it opens none, goes on with) to one of the
    services; None while there is none."""
    ordered = sorted(packets, key=lambda packet: packet.at)
    first = _first(scene, ordered)
    if first is None:
        return None
    packet, stage = first
    steps: list[Step] = []
    server: Spot | None = None
    known: set[object] = set()
    for each in ordered:
        leg = _leg(each, stage, packet.source, packet.target)
        if leg is None:
            continue
        if leg is Leg.TO_SERVER and server is None:
            server = _server(each, stage)
        same = (leg, each.flags, each.sequence, each.size, each.icmp)
        again = same in known and each.protocol == TCP
        known.add(same)
        steps.append(Step(each, leg, again))
    return Walk(
        stage, packet.source, packet.target, packet.protocol, server, tuple(steps), tuple(arp)
    )


def _first(scene: Scene, packets: Sequence[Seen]) -> tuple[Seen, Stage] | None:
    found = [
        (packet, stage)
        for packet in packets
        if packet.icmp is None and not packet.outgoing and packet.source.address == scene.client
        for stage in scene.stages
        if stage.takes(packet)
    ]
    opening = [each for each in found if each[0].opens]
    return next(iter(opening or found), None)


def _leg(packet: Seen, stage: Stage, client: Endpoint, virtual: Endpoint) -> Leg | None:
    ends = (packet.source, packet.target)
    if client not in ends:
        return None
    if packet.icmp is not None:
        return Leg.ERROR
    if packet.source == client:
        if packet.outgoing:
            known = packet.target == virtual or stage.server_at(packet.target) is not None
            return Leg.TO_SERVER if known else None
        return Leg.TO_DIRECTOR if packet.target == virtual else None
    if packet.source == virtual:
        return Leg.TO_CLIENT if packet.outgoing else Leg.FROM_SERVER
    if stage.server_at(packet.source) is None:
        return None
    return Leg.UNCHANGED if packet.outgoing else Leg.FROM_SERVER


def _server(packet: Seen, stage: Stage) -> Spot | None:
    """Whom a packet left for."""
    if packet.outer is not None:
        return _behind(packet.outer, stage)
    server = stage.server_at(packet.target)
    if server is not None:
        return server
    direct = [s for s in stage.servers if s.forward is Forward.DR]
    found = next((s for s in direct if s.mac and s.mac == packet.mac_to), None)
    return found or (direct[0] if len(direct) == 1 else None)


def _behind(outer: Outer, stage: Stage) -> Spot | None:
    return next((s for s in stage.servers if s.endpoint.address == outer.target), None)
