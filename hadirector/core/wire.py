"""One virtual router on the wire: its adverts as packets, and what it makes of others' packets.

What arrives is judged in this order: who sent it (unicast), how it came, what it is, who signed it,
and whether this router can follow it. A refused packet moves the counter of its flaw, is told once
for each sender and is seen in status as long as it goes on.

Of each sender that is obeyed or answered it is known how it sums its adverts. Multicast adverts are
for all of them and go out as configured; to a unicast peer its own way of summing is used, since a
router that accepts one way only would hear nothing else. `checksum` set to anything but `auto` is
the operator's word for all of them.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from hadirector.core import advert, signature
from hadirector.core.address import Address, Family
from hadirector.core.advert import Advert, Decoded, Expected, Flaw, PacketError, Summed
from hadirector.core.complaints import Complaints
from hadirector.core.election_types import PacketReceived
from hadirector.core.keys import Secrets
from hadirector.core.messages import Complaint, Speaker
from hadirector.core.node_view import unicast_of
from hadirector.core.settings.instances import (
    AuthenticationKind,
    Checksum,
    Instance,
    Signing,
)

SPEAKERS = 8  # others remembered at least: two at a time are usual, and keepalived keeps four

COUNTERS = (
    *("advert_rcvd", "advert_sent", "pri_zero_rcvd", "pri_zero_sent", "addr_list_err"),
    *(flaw.value for flaw in Flaw),
)


@dataclass(frozen=True, slots=True)
class Context:
    """What the wire has to know of its router at the moment. `unix`: the wall clock now; `known`:
    the addresses that live peers say they speak from."""

    instance: Instance
    listed: tuple[Address, ...]
    secrets: Secrets
    unix: float
    known: Collection[Address] = ()

    @property
    def signing(self) -> Signing | None:
        """How adverts are signed; None: not at all."""
        authentication = self.instance.authentication
        return authentication.signing if authentication.kind is AuthenticationKind.HMAC else None

    @property
    def password(self) -> bytes:
        """What version 2 authenticates itself with; empty: nothing."""
        authentication = self.instance.authentication
        if authentication.kind is not AuthenticationKind.PASS or self.instance.version != 2:
            return b""
        return self.secrets.passwords[authentication.file or ""].text


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a packet: an advert to obey or answer, or None; and what is to be told about
    its sender for the first time, as (kind, reason)."""

    advert: Advert | None
    told: tuple[tuple[str, str], ...] = ()


class Wire:
    """The packets of one virtual router."""

    def __init__(self, family: Family) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._family: Family = family
        self._speakers: dict[Address, Speaker] = {}
        self._marks: dict[Address, int] = {}  # the last sequence signed by a speaker
        self._refused = Complaints()
        self._odd = Complaints()
        self._sequence = signature.Counter()

    # --- in ----------------------------------------------------------------------------------

    def judge(self, packet: PacketReceived, context: Context, now: float) -> Judged:
        """The advert in a packet for this virtual router, or why there is none."""
        source = packet.source
        try:
            decoded = self._read(packet, context)
            verified = self._authenticate(decoded, source, context)
            if verified is None:
                _check_addresses(decoded.advert, source, context)
            _check_interval(decoded.advert, context.instance)
        except PacketError as error:
            self.counters[error.flaw.value] += 1
            reason = f"adverts of {source} are refused: {error.detail}"
            news = self._refused.add(source, error.flaw.value, reason, now)
            return Judged(None, (("advert_refused", reason),) if news else ())
        self._count(decoded.advert, context)
        self._remember(source, _speaker(decoded, verified, now), verified, context.instance)
        odd = [
            ("advert_differs", reason)
            for kind, text in _oddities(decoded.advert, verified, source, context)
            if self._odd.add(source, kind, reason := f"{source} {text}", now)
        ]
        return Judged(decoded.advert, tuple(odd))

    def speakers(self) -> dict[Address, Speaker]:
        """The others heard, the latest last."""
        return dict(self._speakers)

    def refused(self, since: float) -> tuple[Complaint, ...]:
        """Whose packets were refused since then."""
        return self._refused.since(since)

    def odd(self, since: float) -> tuple[Complaint, ...]:
        """What was odd since then about packets that were not refused."""
        return self._odd.since(since)

    # --- out ---------------------------------------------------------------------------------

    def write(
        self, priority: int, source: Address, context: Context
    ) -> list[tuple[Address, bytes]]:
        """The advert of this priority as one packet for each destination."""
        instance = context.instance
        unicast = unicast_of(instance, self._family)
        destinations = unicast.peers if unicast else (advert.GROUPS[self._family],)
        said = self.said(priority, context)
        self.counters["advert_sent"] += 1
        self.counters["pri_zero_sent"] += priority == advert.RESIGN
        trailer = self._sign(said, source, destinations[0], context)
        return [
            (to, advert.encode(said, source, *self._summing(instance, to), trailer))
            for to in destinations
        ]

    def said(self, priority: int, context: Context) -> Advert:
        """What an advert of this priority says."""
        instance = context.instance
        return Advert(
            instance.version,
            instance.virtual_router_id,
            priority,
            instance.advert_int,
            context.listed,
            context.password,
        )

    # --- helpers of the above, in their order ------------------------------------------------

    def _read(self, packet: PacketReceived, context: Context) -> Decoded:
        instance = context.instance
        unicast = unicast_of(instance, self._family)
        if unicast is not None and packet.source not in unicast.peers:
            raise PacketError(Flaw.SOURCE, "it is none of the unicast peers")
        expected = Expected(
            instance.version,
            unicast is not None,
            instance.checksum,
            context.password,
            context.signing is not None,
        )
        return advert.decode(
            packet.message, packet.source, packet.destination, packet.ttl, expected
        )

    def _authenticate(
        self, decoded: Decoded, source: Address, context: Context
    ) -> signature.Verified | None:
        """Who signed it; None: nobody, and nobody has to."""
        if not decoded.signature:
            if context.signing is Signing.ENFORCE:
                raise PacketError(Flaw.NOT_SIGNED, "it does not sign them, and here signing is set")
            return None
        window = signature.window(context.instance.advert_int)
        verified = signature.verify(
            decoded.message,
            decoded.signature,
            source,
            context.secrets.keys,
            context.unix,
            window,
        )
        if signature.is_replay(verified.sequence, self._marks.get(source), context.unix, window):
            raise PacketError(Flaw.REPLAYED, "a signed packet was sent again, by whomever")
        return verified

    def _count(self, said: Advert, context: Context) -> None:
        self.counters["advert_rcvd"] += 1
        self.counters["pri_zero_rcvd"] += said.priority == advert.RESIGN
        self.counters["addr_list_err"] += set(said.addresses) != set(context.listed)
        self.counters[Flaw.INTERVAL.value] += not _same_interval(said, context.instance)

    def _remember(
        self,
        source: Address,
        speaker: Speaker,
        verified: signature.Verified | None,
        instance: Instance,
    ) -> None:
        """The latest last; who was not heard for longest is forgotten first."""
        unicast = unicast_of(instance, self._family)
        self._speakers.pop(source, None)
        self._speakers[source] = speaker
        if verified is not None:
            self._marks[source] = verified.sequence
        if len(self._speakers) > max(SPEAKERS, len(unicast.peers) if unicast else 0):
            oldest = next(iter(self._speakers))
            del self._speakers[oldest]
            self._marks.pop(oldest, None)

    def _sign(self, said: Advert, source: Address, to: Address, context: Context) -> bytes:
        if context.signing is None or context.signing is Signing.RECEIVE_ONLY:
            return b""
        window = signature.window(context.instance.advert_int)
        sequence = self._sequence.next(context.unix, window)
        message = advert.encode(said, source, to, Checksum.PLAIN)
        return signature.sign(message, source, context.secrets.keys[0], sequence)

    def _summing(self, instance: Instance, to: Address) -> tuple[Address, Checksum]:
        """The destination in the pseudo-header, and whether there is one."""
        speaker = self._speakers.get(to)
        if instance.checksum is not Checksum.AUTO or speaker is None:
            return to, instance.checksum
        if speaker.checksum == Summed.GROUP.value:
            return advert.GROUPS[4], Checksum.PSEUDO_HEADER
        return to, Checksum(speaker.checksum)


def _check_addresses(said: Advert, source: Address, context: Context) -> None:
    """Who lists none of our addresses is no master of them, whatever its priority: obeying it would
    leave them with nobody. It is another virtual router of the same number."""
    if not said.addresses or not set(said.addresses).isdisjoint(context.listed):
        return
    instance = context.instance
    if source in context.known or (instance.unicast and source in instance.unicast.peers):
        return  # a peer of ours whose configuration is a reload ahead
    raise PacketError(
        Flaw.STRANGER,
        f"VRID {instance.virtual_router_id} on {instance.interface} is also used by it, for other "
        f"addresses ({_described(said)}): choose another virtual_router_id, or stop it",
    )


def _described(said: Advert) -> str:
    """An advert in a few words: its count of addresses is bounded by its sender alone."""
    some = ", ".join(said.addresses[:3]) + (" ..." if len(said.addresses) > 3 else "")
    return f"{some or 'none'}, version {said.version}, priority {said.priority}"


def _check_interval(said: Advert, instance: Instance) -> None:
    """RFC 3768 7.1: version 2 does not learn another interval, so it must be the same."""
    if instance.version != 2 or _same_interval(said, instance):
        return
    raise PacketError(
        Flaw.INTERVAL,
        f"it advertises each {said.interval:g} s, and here advert_int is "
        f"{instance.advert_int:g} s: in version 2 they must be the same",
    )


def _speaker(decoded: Decoded, verified: signature.Verified | None, now: float) -> Speaker:
    return Speaker(
        priority=decoded.advert.priority,
        interval=decoded.advert.interval,
        checksum=decoded.summed.value,
        heard_at=now,
        key=None if verified is None else verified.identity,
    )


def _oddities(
    said: Advert, verified: signature.Verified | None, source: Address, context: Context
) -> list[tuple[str, str]]:
    """What is odd about an advert that is taken nevertheless, as (kind, sentence)."""
    odd = []
    instance = context.instance
    if set(said.addresses) != set(context.listed) and source not in context.known:
        text = (
            f"advertises VRID {instance.virtual_router_id} on {instance.interface} with other "
            f"addresses than we do ({_described(said)}): give all routers of it the same, or "
            "choose another virtual_router_id"
        )
        odd.append(("addresses", text))
    if not _same_interval(said, instance):
        text = (
            f"advertises each {said.interval:g} s, and here advert_int is "
            f"{instance.advert_int:g} s: who is backup follows the master's; make them the same"
        )
        odd.append(("interval", text))
    window = signature.window(instance.advert_int)
    if verified is not None and abs(verified.behind) > window // 2:
        text = (
            f"has a clock that differs from ours by more than {window // 2} s; from {window} s on "
            "its adverts are refused: set both clocks by NTP"
        )
        odd.append(("clock", text))
    return odd


def _same_interval(said: Advert, instance: Instance) -> bool:
    return math.isclose(said.interval, instance.advert_int, abs_tol=0.005)
