"""Adverts with our virtual router ID from somebody who should not send them, or sends them wrong.

Each sender is told of once for each thing that is wrong with it, in one sentence with the likely
cause and the fix; after that its packets are only counted. It is told again after an hour, and
when what it says becomes another thing. Senders can be invented by whoever is on the wire, so
only a few are remembered, and the journal's share of them is bounded.
"""

from dataclasses import dataclass, replace

from hadirector.core.address import Address
from hadirector.core.advert import Flaw
from hadirector.core.listening import seconds
from hadirector.core.settings.instances import Instance

MOST = 8  # senders remembered for each virtual router
AGAIN = 3600.0  # seconds until the same is told again, or forgotten
CHANGES = 60.0  # seconds at least between two tellings of one sender
LASTS = 60.0  # seconds after its last packet for which a sender is trouble in the status

STRANGER = "stranger"  # lawful adverts, but of another virtual router
SOURCE = "source_err"  # from nobody we know, where peers are listed
ODD = "odd"  # lawful, of our router, but configured otherwise
CROWD = Address("")  # all senders beyond MOST


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one packet: `what` is a Flaw's value or one of the above."""

    source: Address
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Sender:
    """One sender and what is wrong with it."""

    text: str
    since: float
    heard_at: float
    told_at: float
    count: int = 1


class Strangers:
    """The senders one virtual router remembers."""

    def __init__(self) -> None:
        self._senders: dict[tuple[Address, str], Sender] = {}

    def hear(self, finding: Finding, now: float) -> tuple[str, dict[str, str]] | None:
        """Reason and inputs when it is to be told; else it is counted."""
        key = (finding.source, finding.what)
        known = self._senders.get(key)
        if known is None and len(self._senders) >= MOST and not self._forget(now):
            key = (CROWD, "")
            known = self._senders.get(key)
            text = f"more than {MOST} senders of adverts that are wrong: the others are counted"
            finding = Finding(CROWD, "", text)
        if known is None:
            self._senders[key] = Sender(finding.text, now, now, now)
            return finding.text, _inputs(finding)
        heard = replace(known, heard_at=now, count=known.count + 1)
        since = now - known.told_at
        tells = since >= AGAIN or (finding.text != known.text and since >= CHANGES)
        if tells:
            heard = replace(heard, text=finding.text, told_at=now)
        self._senders[key] = heard
        if not tells:
            return None
        inputs = {"count": str(heard.count), "for": seconds(round(now - known.since))}
        return finding.text, _inputs(finding) | inputs

    def troubles(self, now: float) -> tuple[str, ...]:
        """A sentence for each that was heard lately."""
        return tuple(
            f"{sender.text} ({sender.count} packets)"
            for sender in self._senders.values()
            if now - sender.heard_at <= LASTS
        )

    def refused(self, now: float) -> tuple[Address, ...]:
        """Those heard lately whose adverts could not be taken."""
        flaws = {flaw.value for flaw in Flaw}
        return tuple(
            source
            for (source, what), sender in self._senders.items()
            if what in flaws and now - sender.heard_at <= LASTS
        )

    def _forget(self, now: float) -> bool:
        """Make room, if any sender was silent for so long that it would be told anew."""
        quiet = [key for key, one in self._senders.items() if now - one.heard_at > AGAIN]
        for key in quiet:
            del self._senders[key]
        return bool(quiet)


def _inputs(finding: Finding) -> dict[str, str]:
    named = {"from": finding.source} if finding.source else {}
    return {**named, "wrong": finding.what} if finding.what else {}


def flawed(instance: Instance, source: Address, flaw: Flaw, detail: str) -> Finding:
    """A packet that is no advert for us, with the likely cause and the fix."""
    where = f"VRID {instance.virtual_router_id} on {instance.interface}"
    causes = {
        Flaw.LENGTH: "its length is wrong: another authentication, or no VRRP at all",
        Flaw.VERSION: (
            f"it speaks version {detail.partition(',')[0]}, we {instance.version}: give all the "
            "same version, or choose another virtual_router_id"
        ),
        Flaw.TYPE: f"it is of the unknown type {detail}",
        Flaw.CHECKSUM: (
            "its checksum is wrong: a peer that computes it otherwise needs 'checksum: auto' or "
            "its own setting changed (pseudo-header or plain)"
        ),
        Flaw.TTL: (
            f"its TTL is {detail}, not 255: it came through a router, which no advert may: "
            "stop it there"
        ),
        Flaw.DESTINATION: (
            f"it was {detail}: some speak by multicast and some by unicast: give all the same"
        ),
        Flaw.INTERVAL: (
            f"its advert interval is not ours of {instance.advert_int:g} s: version 2 needs the "
            "same everywhere"
        ),
        Flaw.AUTH_TYPE: "it is authenticated otherwise: give all the same authentication",
        Flaw.AUTHENTICATION: "its authentication fails: give all the same password or key",
    }
    cause = causes.get(flaw, f"{flaw.value}: {detail}")
    return Finding(source, flaw.value, f"adverts of {source} for {where} are refused: {cause}")


def unlisted(instance: Instance, source: Address) -> Finding:
    """A unicast advert of somebody who is no peer."""
    text = (
        f"adverts of {source} for VRID {instance.virtual_router_id} on {instance.interface} are "
        "refused: it is not in 'unicast': add it, or stop it"
    )
    return Finding(source, SOURCE, text)


def stranger(instance: Instance, source: Address, said: str) -> Finding:
    """Lawful adverts of a router that has nothing to do with ours but the number."""
    text = (
        f"VRID {instance.virtual_router_id} on {instance.interface} is also used by {source} "
        f"({said}): choose another virtual_router_id, or stop it; it is not obeyed"
    )
    return Finding(source, STRANGER, text)


def odd(instance: Instance, source: Address, said: str) -> Finding:
    """Adverts for our addresses that are configured otherwise, of no peer that we know."""
    text = (
        f"{source} advertises VRID {instance.virtual_router_id} on {instance.interface} otherwise "
        f"than we do ({said}): give all routers of it the same addresses and interval, or choose "
        "another virtual_router_id"
    )
    return Finding(source, ODD, text)
