"""The judge of the interop matrix: a move as it should be passes, and each thing wrong is found."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from labkit.interop import configs
from labkit.interop.capture import Advert, Announcement, Answer, Question, Seen
from labkit.interop.cells import Wire
from labkit.interop.judge import Expected, Kind, Verdict, judge
from labkit.interop.scene import Evidence

WIRE = Wire(3, 4, "multicast")
SIX = Wire(3, 6, "unicast")
MACS = {"lb1": "02:00:00:00:00:01", "lb2": "02:00:00:00:00:02"}
VIPS = configs.VIRTUAL[4]
DOWN, SKEW, INTERVAL = 0.361, 0.061, 0.1
STRUCK = 10.05  # between two adverts of the old master


@dataclass(frozen=True, slots=True)
class Scene:
    """What was expected, and what was seen of it."""

    wire: Wire
    expected: Expected
    evidence: Evidence

    def verdict(self) -> Verdict:
        return judge(self.wire, self.expected, self.evidence)

    def findings(self) -> tuple[str, ...]:
        return self.verdict().findings


def advert(name: str, at: float, priority: int, wire: Wire = WIRE) -> Advert:
    return Advert(
        at=at,
        mac=MACS[name],
        source=configs.own(name, wire.family),
        destination=configs.destination(wire, name),
        ttl=255,
        tos=0xC0,
        version=wire.version,
        vrid=configs.VRID,
        priority=priority,
        authentication="none",
        interval=wire.advert_int,
        addresses=frozenset(configs.VIRTUAL[wire.family]),
        flaw="",
    )


def steadily(name: str, since: float, until: float, priority: int) -> list[Advert]:
    """An advert each interval."""
    count = round((until - since) / INTERVAL)
    return [advert(name, since + i * INTERVAL, priority) for i in range(count)]


def asked(until: float, answering: Callable[[float], str | None]) -> dict[str, object]:
    """A question each 20 ms from 9.85 on, answered at once by whom `answering` says."""
    stamps = [9.85 + i * 0.02 for i in range(round((until - 9.85) / 0.02))]
    answers = [
        Answer(at + 0.001, i, MACS[name])
        for i, at in enumerate(stamps)
        if (name := answering(at)) is not None
    ]
    questions = tuple(Question(at, i) for i, at in enumerate(stamps))
    return {"questions": questions, "answers": tuple(answers)}


def scene(kind: Kind, taken: float, adverts: list[Advert], **expected: object) -> Scene:
    """lb2 takes over at `taken`, with these adverts; otherwise all as it should be."""
    seen = Seen(
        adverts=tuple(adverts),
        announcements=tuple(Announcement(taken + 0.01, MACS["lb2"], vip) for vip in VIPS),
        **asked(taken + 0.5, lambda at: "lb1" if at < taken else "lb2"),  # type: ignore[arg-type]
    )
    evidence = Evidence(
        began=9.84,
        struck=STRUCK,
        done=taken + 0.02,
        ended=taken + 0.5,
        seen=seen,
        owned=((1.0, "lb1", True), (taken, "lb1", False), (taken, "lb2", True)),
        holders=dict.fromkeys(VIPS, ("lb2",)),
        complaints=(),
        macs={mac: name for name, mac in MACS.items()},
        sources={name: frozenset((configs.own(name, 4),)) for name in MACS},
        products={"lb1": "hadirector", "lb2": "keepalived"},
    )
    wait = SKEW if kind is Kind.STOPPED else DOWN
    terms = {"wait": wait, "priority": 100, "keeps": True} | expected
    return Scene(WIRE, Expected(kind, "lb1", "lb2", **terms), evidence)  # type: ignore[arg-type]


def killed(silence: float = DOWN) -> Scene:
    """lb1's last advert is at 10.0; it is killed at 10.05, and its kernel keeps the addresses."""
    taken = 10.0 + silence
    adverts = [*steadily("lb1", 9.9, 10.1, 150), *steadily("lb2", taken, taken + 0.5, 100)]
    made = scene(Kind.KILLED, taken, adverts)
    owned = ((1.0, "lb1", True), (STRUCK, "lb1", False), (taken, "lb2", True))
    holders: dict[str, tuple[str, ...]] = dict.fromkeys(VIPS, ("lb1", "lb2"))
    return replace(made, evidence=replace(made.evidence, owned=owned, holders=holders))


def stopped(silence: float = SKEW) -> Scene:
    """lb1 says goodbye at 10.06 and keeps the addresses until it hears lb2."""
    taken = 10.06 + silence
    goodbye = [*steadily("lb1", 9.9, 10.1, 150), advert("lb1", 10.06, 0)]
    return scene(Kind.STOPPED, taken, [*goodbye, *steadily("lb2", taken, taken + 0.5, 100)])


def lowered(silence: float = DOWN) -> Scene:
    """lb1 says 150 at 10.0 for the last time, then 50 until it is outdone."""
    taken = 10.0 + silence
    before = [*steadily("lb1", 9.9, 10.1, 150), *steadily("lb1", 10.1, taken, 50)]
    return scene(Kind.LOWERED, taken, [*before, *steadily("lb2", taken, taken + 0.5, 100)])


def raised() -> Scene:
    """lb1 speaks until lb2, whose priority is 200 now, does."""
    before = steadily("lb1", 9.9, 10.4, 150)
    after = steadily("lb2", 10.38, 10.88, 200)
    return scene(Kind.RAISED, 10.38, [*before, *after], before=5.0, priority=200)


def held_back() -> Scene:
    """lb1 comes back and obeys lb2."""
    made = scene(Kind.HELD_BACK, 10.5, steadily("lb2", 9.8, 11.0, 100))
    seen = replace(made.evidence.seen, **asked(11.0, lambda _: "lb2"))  # type: ignore[arg-type]
    evidence = replace(made.evidence, seen=seen, owned=((1.0, "lb2", True),))
    return Scene(WIRE, Expected(Kind.HELD_BACK, "lb2", "lb2", DOWN, 20.0, 100), evidence)


@pytest.mark.parametrize("make", [killed, stopped, lowered, raised, held_back])
def test_a_move_as_it_should_be_has_nothing_wrong_with_it(make: Callable[[], Scene]) -> None:
    assert make().findings() == ()


def test_figures_are_what_the_wire_the_kernels_and_the_client_saw() -> None:
    figures = killed(0.4).verdict().figures

    assert {name: round(value, 3) for name, value in figures.items()} == {
        "silence": 0.4,
        "formula": DOWN,
        "overlap": 0.0,
        "unowned": 0.35,  # from the kill on
        "client_gap": 0.001,  # the longest it waited
        "moved_after": 0.37,
    }


@pytest.mark.parametrize(
    ("made", "finding"),
    [
        (killed(0.2), "0.200 s after the last word: 0.361 s is the rule"),
        (killed(0.6), "0.600 s of silence: 0.561 s is the limit"),
        (stopped(0.3), "0.300 s of silence: 0.261 s is the limit"),
        (stopped(0.02), "0.020 s after the last word: 0.061 s is the rule"),
        (lowered(0.2), "0.200 s after the last word: 0.361 s is the rule"),
        (lowered(0.6), "0.600 s of silence: 0.561 s is the limit"),
    ],
)
def test_a_takeover_too_early_or_too_late_is_found(made: Scene, finding: str) -> None:
    assert made.findings() == (finding,)


def with_seen(made: Scene, **changes: object) -> Scene:
    seen = replace(made.evidence.seen, **changes)  # type: ignore[arg-type]
    return replace(made, evidence=replace(made.evidence, seen=seen))


def with_evidence(made: Scene, **changes: object) -> Scene:
    return replace(made, evidence=replace(made.evidence, **changes))  # type: ignore[arg-type]


def silent(made: Scene) -> tuple[Advert, ...]:
    """Without the goodbye."""
    return tuple(a for a in made.evidence.seen.adverts if a.priority)


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"ttl": 64}, "TTL 64, not 255"),
        ({"tos": 0}, "TOS 0, not 192"),
        ({"version": 2}, "version 2, not 3"),
        ({"vrid": 52}, "VRID 52, not 51"),
        ({"interval": 1.0}, "interval 1.0, not 0.1"),
        ({"authentication": "simple"}, "authentication 'simple', not 'none'"),
        ({"destination": "192.0.2.1"}, "destination '192.0.2.1', not '224.0.0.18'"),
        ({"source": "192.0.2.10"}, "from an address that is none of lb2's"),
        ({"flaw": "(bad vrrp cksum dead)"}, "(bad vrrp cksum dead)"),
    ],
)
def test_a_packet_that_is_not_of_the_wires_form_is_found(
    change: dict[str, object], flaw: str
) -> None:
    made = killed()
    *before, last = made.evidence.seen.adverts
    wrong = replace(last, **change)  # type: ignore[arg-type]

    assert with_seen(made, adverts=(*before, wrong)).findings() == (f"{wrong.source} sent {flaw}",)


def test_a_list_of_addresses_that_differs_is_found() -> None:
    made = killed()
    *before, last = made.evidence.seen.adverts
    wrong = replace(last, addresses=frozenset(VIPS[:1]))

    (finding,) = with_seen(made, adverts=(*before, wrong)).findings()

    assert finding.startswith("192.0.2.2 sent addresses frozenset({'192.0.2.10'}), not ")


def test_only_keepalived_may_send_ipv6_unicast_with_the_kernels_hop_limit() -> None:
    made = killed()
    theirs = replace(advert("lb2", 11.0, 100, SIX), ttl=64)
    ours = replace(advert("lb1", 9.0, 150, SIX), ttl=64)
    sources = {name: frozenset((configs.own(name, 6),)) for name in MACS}
    made = replace(with_evidence(made, sources=sources), wire=SIX)

    found = with_seen(made, adverts=(ours, theirs)).findings()

    assert [text for text in found if "TTL" in text] == ["2001:db8::1 sent TTL 64, not 255"]


@pytest.mark.parametrize(
    ("made", "finding"),
    [
        (with_evidence(killed(), complaints=("lb2 counts 1 addr_list_err",)), "addr_list_err"),
        (with_evidence(killed(), done=None), "lb2 did not become master"),
        (
            with_evidence(stopped(), holders=dict.fromkeys(VIPS, ("lb1", "lb2"))),
            "192.0.2.10 is on lb1 and lb2 at the end",
        ),
        (
            with_evidence(killed(), holders={VIPS[0]: ("lb2",), VIPS[1]: ("lb1",)}),
            "192.0.2.11 is on lb1 at the end",
        ),
        (with_seen(killed(), strange=("1.0 something",)), "tcpdump: 1.0 something"),
        (with_seen(killed(), announcements=()), "192.0.2.10 was not announced by lb2"),
        (
            with_evidence(
                lowered(),
                owned=((1.0, "lb1", True), (10.1, "lb2", True), (10.5, "lb1", False)),
            ),
            "two owners for 0.400 s",
        ),
        (
            with_evidence(
                lowered(),
                owned=((1.0, "lb1", True), (10.1, "lb1", False), (10.4, "lb2", True)),
            ),
            "no owner for 0.300 s: 0.200 s is the limit",
        ),
        (
            with_evidence(
                killed(),
                owned=(
                    *((1.0, "lb1", True), (STRUCK, "lb1", False), (10.36, "lb2", True)),
                    *((10.4, "lb2", False), (10.45, "lb2", True)),
                ),
            ),
            "the address was taken by lb2, lb2, in this order",
        ),
        (
            with_seen(lowered(), **asked(10.86, lambda at: "lb1" if at < 10.75 else "lb2")),
            "at the end lb1 and lb2 answered the client",
        ),
        (
            with_seen(lowered(), **asked(10.86, lambda at: None if at > 10.4 else "lb1")),
            "at the end nobody answered the client",
        ),
        (
            with_seen(
                lowered(),
                **asked(10.86, lambda at: "lb1" if at < 10.1 else "lb2" if at > 10.4 else None),
            ),
            "the client had no answer for 0.301 s",
        ),
        (
            with_seen(
                stopped(), adverts=tuple(a for a in stopped().evidence.seen.adverts if a.priority)
            ),
            "no priority 0 of lb1 before lb2's first",
        ),
        (
            with_seen(
                lowered(),
                adverts=(*lowered().evidence.seen.adverts, *steadily("lb1", 10.37, 10.8, 50)),
            ),
            "lb1 sent 4 adverts after lb2's first",
        ),
        (
            with_seen(
                held_back(),
                adverts=(*held_back().evidence.seen.adverts, advert("lb1", 10.9, 150)),
            ),
            "lb1 advertised",
        ),
        (
            with_evidence(held_back(), owned=((1.0, "lb2", True), (10.9, "lb1", True))),
            "lb1 took the address",
        ),
        (
            replace(killed(), expected=replace(killed().expected, priority=200)),
            "lb2 advertised 100, not 200",
        ),
        (
            with_evidence(held_back(), done=None),
            "the better one does not follow the master",
        ),
        (
            with_evidence(held_back(), holders=dict.fromkeys(VIPS, ("lb1", "lb2"))),
            "192.0.2.10 is on lb1 and lb2 at the end",
        ),
    ],
)
def test_what_else_can_be_wrong_is_found(made: Scene, finding: str) -> None:
    assert any(finding in text for text in made.findings()), made.findings()


def test_a_keepalived_that_stops_may_leave_clients_alone_for_the_skew_time_only() -> None:
    def gap(until: float) -> Scene:
        made = stopped()
        made = replace(made, expected=replace(made.expected, keeps=False))
        answering = lambda at: "lb1" if at < 10.06 else "lb2" if at > until else None  # noqa: E731
        return with_seen(made, **asked(10.86, answering))

    assert gap(10.25).findings() == ()
    assert [text for text in gap(10.35).findings() if "no answer" in text]


def test_a_client_that_could_not_ask_saw_no_gap() -> None:
    made = lowered()
    questions = tuple(q for q in made.evidence.seen.questions if not 10.1 < q.at < 10.35)
    answers = tuple(a for a in made.evidence.seen.answers if not 10.1 < a.at < 10.35)
    made = with_seen(made, questions=questions, answers=answers)

    assert made.findings() == ()
