"""Parts of the way, and what is said of the one where packets stop."""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Address
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.finding import Finding
from hadirector.core.trace.walk import Walk


class Hop(Enum):
    """A part of the way, as people say it."""

    CLIENT_TO_DIRECTOR = "client -> director"
    DIRECTOR = "in the director"
    DIRECTOR_TO_SERVER = "director -> server"
    SERVER = "at the server"
    SERVER_TO_DIRECTOR = "server -> director"
    DIRECTOR_TO_CLIENT = "director -> client"
    SERVER_TO_CLIENT = "server -> client"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`what` is what was seen, `cause` the likeliest one, `look` commands that show or mend it."""

    hop: Hop
    what: str
    cause: str = ""
    look: tuple[str, ...] = ()

    @property
    def fine(self) -> bool:
        """Nothing stops."""
        return self.hop is Hop.NOWHERE


@dataclass(frozen=True, slots=True)
class Evidence:
    """What packets do not show. `dropped`: packets the kernel dropped by rp_filter meanwhile."""

    case: Case
    dropped: int = 0


def of_finding(hop: Hop, finding: Finding, what: str) -> Verdict:
    """Doctor's reason and fix, for what was seen here."""
    return Verdict(hop, what, finding.why, finding.fix)


def unanswered_arp(walk: Walk, where: Address | None = None) -> Verdict | None:
    """This host asks for a server's MAC, and nobody says anything."""
    servers = {spot.endpoint.address for spot in walk.stage.servers}
    wanted = servers if where is None else {where}
    heard = {each.asked for each in walk.arp if each.answer and not each.outgoing}
    asked = [e.asked for e in walk.arp if e.outgoing and not e.answer and e.asked in wanted]
    silent = [each for each in dict.fromkeys(asked) if each not in heard]
    if not silent or (where is None and len(asked) < 2):
        return None
    listed = ", ".join(silent)
    return Verdict(
        Hop.DIRECTOR_TO_SERVER,
        f"this host asks for the MAC address of {listed}, and nobody answers",
        "the server is down, unplugged, or on another segment",
        (f"ip neigh show {silent[0]}", f"ping -c 3 {silent[0]}"),
    )
