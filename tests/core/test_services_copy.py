"""What is tried on a copy of the services comes out as the real thing: a plan is no guess."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.admin import Admin, Ruling
from hadirector.core.as_client import Path
from hadirector.core.keys import FileText
from hadirector.core.messages import Health, Probe, Verdict, Verdicts, Wish
from hadirector.core.services import Services
from hadirector.core.settings.checks import target_id
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import Feedback, OnFailure, RealServer
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO

SPARE = RealServer(endpoint=Endpoint(Address("10.0.1.99"), 80), forward=ipvs.Forward.NAT)
THREE = RealServer(endpoint=Endpoint(Address("10.0.1.13"), 80), forward=ipvs.Forward.NAT)
FOUR = RealServer(endpoint=Endpoint(Address("10.0.1.14"), 80), forward=ipvs.Forward.NAT)
BUSY = replace(farm.WEB, slow_start=20.0, feedback=Feedback(checks=("page",)))

Step = Callable[[Services, float], object]


def config(**changes: object) -> Config:
    return replace(farm.CONFIG, services=(replace(BUSY, **changes),))  # type: ignore[arg-type]  # any field


@st.composite
def said(draw: st.DrawFn) -> Step:
    """The checker tells of one server: its health, what its agent wants, whether all are silent."""
    server, health = draw(st.sampled_from((ONE, TWO))), draw(st.sampled_from(Health))
    good = health in (Health.UP, Health.FALLING)
    wish = draw(st.sampled_from(Wish)) if good else Wish.NONE
    share = draw(st.sampled_from((None, 0.3, 1.0))) if good else None
    alone = not good and draw(st.booleans())

    def hear(made: Services, now: float) -> object:
        probe = Probe(good, good or not alone, "told", 1.0, now, share=share, wish=wish)
        last = None if health is Health.UNKNOWN else probe
        verdict = Verdict(target_id("page", server), health, now, last, alone)
        return made.hear(Verdicts((verdict,), whole=False), now)

    return hear


def silent(*servers: Endpoint) -> Step:
    """These do not answer any more, and nobody else did since."""

    def hear(made: Services, now: float) -> object:
        probe = Probe(False, False, "no answer", 500.0, now)
        found = [Verdict(target_id("page", e), Health.DOWN, now, probe, True) for e in servers]
        return made.hear(Verdicts(tuple(found), whole=False), now)

    return hear


silence = silent(ONE, TWO)


@st.composite
def ordered(draw: st.DrawFn) -> Step:
    """Operators want something of one server, or of none any more."""
    ruling = Ruling(draw(st.sampled_from(Admin)), "by root", draw(st.sampled_from((None, 0, 7))))
    server = draw(st.sampled_from((ONE, TWO)))
    return lambda made, now: made.rule({"web": {server: ruling}}, now)


def seen(by_peers: dict[str, bool]) -> Step:
    return lambda made, now: made.seen_elsewhere(by_peers, now)


ELSEWHERE = st.dictionaries(st.sampled_from([f"web/{ONE}", f"web/{TWO}"]), st.booleans())
STEPS = st.one_of(said(), said(), st.just(silence), ordered(), ELSEWHERE.map(seen))
HISTORIES = st.lists(st.tuples(STEPS, st.sampled_from((0.1, 3.0, 15.0))), max_size=12)
EDITS = st.fixed_dictionaries(
    {},
    optional={
        "quorum": st.just(2),
        "floor": st.just(0.5),
        "fallback": st.just(SPARE),
        "on_failure": st.just(OnFailure.REMOVE),
        "slow_start": st.just(0.0),
        "feedback": st.none(),
        "real_servers": st.just((*BUSY.real_servers, THREE)),
    },
)


def lived(first: Config, history: list[tuple[Step, float]]) -> tuple[Services, float]:
    made, now = Services(), 0.0
    made.configure(first, {KEY: farm.entry(3, 1)}, now)
    for step, seconds in history:
        now += seconds
        made.due(now)
        step(made, now)
    return made, now


@given(st.sampled_from((None, SPARE)), HISTORIES, EDITS)
def test_a_configuration_tried_on_a_copy_is_decided_as_it_will_be(
    spare: RealServer | None, history: list[tuple[Step, float]], edit: dict[str, object]
) -> None:
    first, after = config(fallback=spare), config(**{"fallback": spare, **edit})
    made, now = lived(first, history)
    untried, _ = lived(first, history)
    twin = made.copy()

    tried = twin.configure(after, made.entries, now)
    real = made.configure(after, made.entries, now)

    assert (tried, twin.weights, twin.entries) == (real, made.weights, made.entries)
    assert twin.deadline() == made.deadline()
    assert (untried.configure(after, untried.entries, now), untried.weights) == (real, made.weights)


ANEW = {"unsettled", "unjudged", "out"}  # `configure` begins these anew


def inside(made: object, path: str = "") -> dict[str, object]:
    """Every attribute by its path, down to what knows when it is equal to another."""
    found: dict[str, object] = {}
    for name, value in vars(made).items():
        opaque = hasattr(value, "__dict__") and "__eq__" not in vars(type(value))
        found |= inside(value, f"{path}{name}.") if opaque else {f"{path}{name}": value}
    return {name: value for name, value in found.items() if name.partition(".")[0] not in ANEW}


def told(server: Endpoint, health: Health, wish: Wish | None = None, share: float = 1.0) -> Step:
    def hear(made: Services, now: float) -> object:
        probe = Probe(health is Health.UP, True, "told", 1.0, now, share=share, wish=wish)
        verdict = Verdict(target_id("page", server), health, now, probe)
        return made.hear(Verdicts((verdict,), whole=False), now)

    return hear


def test_a_copy_leaves_nothing_out_of_all_that_services_remember() -> None:
    """Whoever adds to what is remembered has to live through it here, and to copy it."""
    history = [
        (told(ONE, Health.DOWN), 1.0),
        (told(ONE, Health.UP, share=0.5), 1.0),  # it starts slowly
        (told(TWO, Health.UP, Wish.DRAIN), 1.0),
        (silent(FOUR.endpoint), 1.0),  # long before the others
        (lambda made, now: made.rule({"web": {TWO: Ruling(Admin.DRAINED, "by root")}}, now), 60.0),
        (told(ONE, Health.DOWN), 1.0),
        (told(ONE, Health.UP, share=0.5), 1.0),
        (silence, 1.0),
        (seen({f"web/{ONE}": True}), 1.0),
        (told(TWO, Health.UP, Wish.DRAIN), 1.0),
    ]
    made, _ = lived(config(floor=1.0, real_servers=(*BUSY.real_servers, THREE, FOUR)), history)
    made.files = {"/etc/ca": FileText(b"")}
    made.paths = (Path("page@10.0.1.11:80", 7, 4, SPARE),)

    known, fresh = inside(made), inside(Services())

    assert [name for name in known if known[name] == fresh[name]] == []
    assert inside(made.copy()) == known
