"""What a move must look like: by the protocol's formula, on the wire, in both kernels, for clients.

Every rule is a function from what was expected and seen to what is wrong with it, one sentence
each. Nothing wrong: the move is as it should be. Nothing here knows a daemon: it can be tested.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from labkit.interop import configs
from labkit.interop.capture import Advert, Answer
from labkit.interop.cells import Wire
from labkit.interop.scene import Evidence

SLACK = 0.2  # seconds beyond a formula: below the difference between skew and master down at 0.1 s
EARLY = 0.9  # share of a formula before which nothing may happen
_THEIRS = "keepalived"
_ANSWERING = 0.05  # seconds a question may wait for its answer
_LAST_WORDS = 2  # adverts a master may send after it was outdone: one on its way, one last
_AT_THE_END = 0.3  # seconds in which the client is heard, though it stood still for some of them


class Kind(Enum):
    """Why mastership moves."""

    LOWERED = "the master's priority is lowered"
    RAISED = "the backup's priority is raised"
    KILLED = "the master is killed"
    STOPPED = "the master is stopped"
    RETURNED = "the better one returns"
    HELD_BACK = "the better one returns and must not preempt"


@dataclass(frozen=True, slots=True)
class Expected:
    """Mastership goes from `old` to `new` (the same name: it stays). `wait`: by the formula, from
    the old one's last word that counts; `before`: seconds until the new one can know."""

    kind: Kind
    old: str
    new: str
    wait: float
    before: float = 0.0
    priority: int = 0  # that the new one advertises
    keeps: bool = False  # the old one keeps the addresses until it hears the new one


@dataclass(frozen=True, slots=True)
class Verdict:
    """`figures` in seconds; no findings: passed."""

    figures: dict[str, float]
    findings: tuple[str, ...]


def judge(wire: Wire, expected: Expected, seen: Evidence, slack: float = SLACK) -> Verdict:
    """All rules that apply to this move."""
    case = _Case(wire, expected, seen, slack)
    rules = [_packets, _complaints, _holders, _clients, _owners]
    rules += [_announced, _speakers, _priority]
    rules += [_held_back] if expected.kind is Kind.HELD_BACK else [_came_about, _silence]
    findings = [text for rule in rules for text in rule(case)]
    return Verdict(case.figures(), tuple(findings))


@dataclass(frozen=True, slots=True)
class _Case:
    wire: Wire
    expected: Expected
    seen: Evidence
    slack: float

    def adverts(self, name: str) -> list[Advert]:
        """Those of one node, in order."""
        return [a for a in self.seen.seen.adverts if self.seen.macs.get(a.mac) == name]

    def first_new(self) -> float | None:
        """When the new master spoke first."""
        after = (a.at for a in self.adverts(self.expected.new) if a.at >= self.seen.struck)
        return next(after, None)

    def last_old(self) -> float | None:
        """The old master's last word that counts for the new one's timer."""
        kind, first = self.expected.kind, self.first_new()
        said = [a for a in self.adverts(self.expected.old) if first is None or a.at < first]
        match kind:
            case Kind.STOPPED:
                return next((a.at for a in said if a.priority == 0), None)
            case Kind.LOWERED:
                said = [a for a in said if a.priority >= self.expected.priority]
        return said[-1].at if said else None

    def silence(self) -> float | None:
        """Between the two."""
        first, last = self.first_new(), self.last_old()
        return None if first is None or last is None else first - last

    def figures(self) -> dict[str, float]:
        """What is worth showing of it."""
        found = {
            "overlap": self.overlap(),
            "unowned": self.unowned(),
            "client_gap": self.client_gap(),
        }
        if self.expected.kind is Kind.HELD_BACK:
            return found
        silence, done = self.silence(), self.seen.done
        if silence is not None:
            rule = "at_most" if self.goes_on() else "formula"
            found = {"silence": silence, rule: self.rule(), **found}
        if done is not None:
            found["moved_after"] = done - self.seen.struck
        return found

    def goes_on(self) -> bool:
        """The old one speaks until the new one does: nobody is silent in between."""
        return self.expected.kind in (Kind.RETURNED, Kind.RAISED)

    def rule(self) -> float:
        """The silence the protocol asks for, or the most it allows if the old one goes on."""
        return self.wire.advert_int if self.goes_on() else self.expected.wait

    def owners(self) -> list[tuple[float, frozenset[str]]]:
        """(from when, who has the address) over the whole scene, live nodes only."""
        now: set[str] = set()
        found: list[tuple[float, frozenset[str]]] = []
        for at, name, held in self.seen.owned:
            if at > self.seen.began and not found:
                found.append((self.seen.began, frozenset(now)))
            now.add(name) if held else now.discard(name)
            if at > self.seen.began:
                found.append((at, frozenset(now)))
        return found or [(self.seen.began, frozenset(now))]

    def _spent(self, holds: Callable[[frozenset[str]], bool]) -> float:
        spans = [*self.owners(), (self.seen.ended, frozenset[str]())]
        return sum(until - since for (since, who), (until, _) in pairwise(spans) if holds(who))

    def overlap(self) -> float:
        """Seconds with more than one owner."""
        return self._spent(lambda who: len(who) > 1)

    def unowned(self) -> float:
        """Seconds without any."""
        return self._spent(lambda who: not who)

    def client_gap(self) -> float:
        """The longest a client asked in vain: from a question without an answer to the next
        answer. What it did not ask, because it had to wait for a CPU, is no gap."""
        answered = {a.number: a.at for a in self.seen.seen.answers}
        longest, since = 0.0, None
        for question in self.seen.seen.questions:
            if question.at > self.seen.ended - _ANSWERING:
                break  # its answer may be on the way
            since = question.at if since is None else since
            if question.number in answered:
                longest = max(longest, answered[question.number] - since)
                since = None
        return longest if since is None else max(longest, self.seen.ended - since)


# --- rules --------------------------------------------------------------------------------------


def _packets(case: _Case) -> list[str]:
    """Every advert of both has the form the wire asks for."""
    found = [f"tcpdump: {line}" for line in case.seen.seen.strange]
    for advert in case.seen.seen.adverts:
        found += [f"{advert.source} sent {text}" for text in _flaws(case, advert)]
    return sorted(set(found))


def _flaws(case: _Case, advert: Advert) -> list[str]:
    wire = case.wire
    name = case.seen.macs.get(advert.mac, advert.mac)
    wanted: dict[str, tuple[object, object]] = {
        "version": (advert.version, wire.version),
        "VRID": (advert.vrid, configs.VRID),
        "TTL": (advert.ttl, _hops(case, name)),
        "TOS": (advert.tos, 0xC0),
        "interval": (advert.interval, wire.advert_int),
        "addresses": (advert.addresses, frozenset(configs.VIRTUAL[wire.family])),
        "authentication": (advert.authentication, _authentication(wire)),
        "destination": (advert.destination, configs.destination(wire, name)),
    }
    found = [f"{k} {is_!r}, not {must!r}" for k, (is_, must) in wanted.items() if is_ != must]
    if advert.source not in case.seen.sources.get(name, ()):
        found.append(f"from an address that is none of {name}'s")
    # tcpdump takes the 28 bytes of auth_hmac for a part of the message; IPv4's sum leaves them out.
    signed = wire.authentication == "hmac" and wire.family == 4
    if advert.flaw and not (signed and "cksum" in advert.flaw):
        found.append(advert.flaw)
    return found


def _hops(case: _Case, name: str) -> int:
    """255; but keepalived leaves unicast over IPv6 to the kernel's default."""
    wire = case.wire
    theirs = wire.family == 6 and wire.cast == "unicast" and case.seen.products[name] == _THEIRS
    return 64 if theirs else 255


def _authentication(wire: Wire) -> str:
    return "simple" if wire.authentication == "pass" else "none"


def _complaints(case: _Case) -> list[str]:
    return list(case.seen.complaints)


def _came_about(case: _Case) -> list[str]:
    if case.seen.done is None:
        return [f"{case.expected.new} did not become master"]
    takers = [
        name
        for at, name, held in case.seen.owned
        if held and case.seen.struck < at < case.seen.ended
    ]
    if takers != [case.expected.new]:
        return [f"the address was taken by {', '.join(takers) or 'nobody'}, in this order"]
    return []


def _silence(case: _Case) -> list[str]:
    """The formula, as the wire saw it."""
    expected, silence = case.expected, case.silence()
    if silence is None:
        what = "no priority 0" if expected.kind is Kind.STOPPED else "no advert"
        return [f"{what} of {expected.old} before {expected.new}'s first"]
    found = []
    latest = case.rule() + case.slack
    if case.goes_on():
        took = (case.first_new() or 0.0) - case.seen.struck
        if took > expected.before + expected.wait + case.slack:
            found.append(f"{expected.new} took {took:.3f} s to take over")
    elif silence < EARLY * expected.wait:
        found.append(f"{silence:.3f} s after the last word: {expected.wait:.3f} s is the rule")
    if silence > latest:
        found.append(f"{silence:.3f} s of silence: {latest:.3f} s is the limit")
    return found


def _holders(case: _Case) -> list[str]:
    """At the end every address is on the new one, and on no other that had a say in it."""
    dead = {case.expected.old} if case.expected.kind is Kind.KILLED else set[str]()
    return [
        f"{address} is on {' and '.join(who) or 'nobody'} at the end"
        for address, who in case.seen.holders.items()
        if set(who) - dead != {case.expected.new}
    ]


def _owners(case: _Case) -> list[str]:
    """Two live owners: not longer than it takes to hear one advert. None: only by the formula."""
    expected = case.expected
    gap = expected.wait if expected.kind in (Kind.KILLED, Kind.STOPPED) else 0.0
    if expected.kind is Kind.STOPPED and expected.keeps:
        gap = 0.0
    found = []
    if case.overlap() > case.wire.advert_int + case.slack:
        found.append(f"two owners for {case.overlap():.3f} s")
    if case.unowned() > gap + case.slack:
        found.append(f"no owner for {case.unowned():.3f} s: {gap + case.slack:.3f} s is the limit")
    return found


def _clients(case: _Case) -> list[str]:
    """Who answers before and after, and how long nobody does. A killed one's kernel answers on."""
    answers, expected = case.seen.seen.answers, case.expected
    quiet = case.seen.ended - max(_AT_THE_END, 1.5 * case.wire.advert_int)
    before = _answerers(case, [a for a in answers if a.at < case.seen.struck])
    after = _answerers(case, [a for a in answers if a.at > quiet])
    found = []
    if before != expected.old:
        found.append(f"before, {before} answered the client")
    if after != expected.new:
        found.append(f"at the end {after} answered the client")
    keeps = expected.kind is not Kind.STOPPED or expected.keeps
    limit = case.slack + (0.0 if keeps else expected.wait)
    if case.client_gap() > limit:
        found.append(f"the client had no answer for {case.client_gap():.3f} s")
    return found


def _answerers(case: _Case, answers: list[Answer]) -> str:
    return " and ".join(sorted({case.seen.macs.get(a.mac, a.mac) for a in answers})) or "nobody"


def _announced(case: _Case) -> list[str]:
    """The new master tells everybody where every address is now."""
    if case.expected.kind is Kind.HELD_BACK:
        return []
    told = {
        a.address
        for a in case.seen.seen.announcements
        if case.seen.macs.get(a.mac) == case.expected.new and a.at > case.seen.struck
    }
    return [
        f"{a} was not announced by {case.expected.new}" for a in case.seen.holders if a not in told
    ]


def _speakers(case: _Case) -> list[str]:
    """Once outdone, the old master is silent but for a last word."""
    first, expected = case.first_new(), case.expected
    if first is None or expected.kind is Kind.HELD_BACK:
        return []
    late = [a for a in case.adverts(expected.old) if a.at > first and a.priority]
    if len(late) > _LAST_WORDS:
        return [f"{expected.old} sent {len(late)} adverts after {expected.new}'s first"]
    return []


def _priority(case: _Case) -> list[str]:
    """The new master says the priority it was told."""
    first, told = case.first_new(), case.expected.priority
    said = {a.priority for a in case.adverts(case.expected.new) if a.at >= (first or 0.0)}
    return [f"{case.expected.new} advertised {p}, not {told}" for p in sorted(said - {told})]


def _held_back(case: _Case) -> list[str]:
    """The better one is back, hears the master, and says nothing."""
    stayed = case.expected.new
    found = [] if case.seen.done is not None else ["the better one does not follow the master"]
    spoke = {case.seen.macs.get(a.mac, a.mac) for a in case.seen.seen.adverts} - {stayed}
    found += [f"{name} advertised" for name in sorted(spoke)]
    took = [name for at, name, held in case.seen.owned if held and at > case.seen.struck]
    return found + [f"{name} took the address" for name in took]
