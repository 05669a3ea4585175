"""What an agent said holds over the checker's restart, until it says otherwise."""

from dataclasses import replace

from hadirector.core.messages import Health, Probe, Verdict, Verdicts, Wish
from hadirector.core.services import Services
from hadirector.core.settings.checks import CheckType, target_id
from hadirector.core.settings.services import Feedback
from tests.core import farm
from tests.core.farm import ONE, TWO
from tests.core.test_easing import services, weights


def test_a_wish_holds_over_the_checkers_restart() -> None:
    agent = replace(farm.PAGE, name="agent", type=CheckType.AGENT)
    service = replace(farm.WEB, feedback=Feedback(checks=("agent",)))
    made = Services()
    made.configure(replace(farm.CONFIG, checks=(farm.PAGE, agent), services=(service,)), {}, 0.0)
    made.hear(farm.verdicts((ONE, Health.UP), (TWO, Health.UP)), 0.0)
    name = target_id("agent", ONE)
    maint = Probe(True, True, "the agent says maint", 1.0, 1.0, wish=Wish.MAINT)
    refused = Probe(False, True, "connection refused", 1.0, 3.0)
    ready = Probe(True, True, "the agent says ready", 1.0, 4.0, wish=Wish.NONE)

    made.hear(Verdicts((Verdict(name, Health.UP, 1.0, maint),), whole=False), 1.0)
    before = weights(made)
    made.hear(Verdicts((Verdict(name, Health.UNKNOWN, 2.0, None),), whole=True), 2.0)
    made.hear(Verdicts((Verdict(name, Health.DOWN, 3.0, refused),), whole=False), 3.0)
    after = weights(made)
    made.hear(Verdicts((Verdict(name, Health.UP, 4.0, ready),), whole=False), 4.0)

    assert (before, after, weights(made)) == ([None, 1], [None, 1], [3, 1])


def test_down_holds_over_the_checkers_restart() -> None:
    made = services(farm.WEB)
    name = target_id("page", ONE)
    words = ((False, False), (None, True), (None, False), (True, True), (None, True))
    seen = []
    for second, (up, ok) in enumerate(words, start=1):
        probe = Probe(ok, True, "told", 1.0, float(second), up=up)
        health = Health.UP if ok else Health.DOWN
        news = Verdicts((Verdict(name, health, float(second), probe),), whole=False)
        made.hear(news, float(second))
        seen.append(made.verdicts[name].health)

    assert seen == [Health.DOWN, Health.DOWN, Health.DOWN, Health.UP, Health.UP]


def test_down_of_an_agent_asked_for_its_load_takes_its_server_out_and_silence_does_not() -> None:
    agent = replace(farm.PAGE, name="agent", type=CheckType.AGENT)
    service = replace(farm.WEB, feedback=Feedback(checks=("agent",)))
    made = Services()
    made.configure(replace(farm.CONFIG, checks=(farm.PAGE, agent), services=(service,)), {}, 0.0)
    made.hear(farm.verdicts((ONE, Health.UP), (TWO, Health.UP)), 0.0)
    seen = []

    words = (
        (Health.DOWN, Probe(False, False, "no answer", 1.0, 1.0)),
        (Health.UP, Probe(True, True, "the agent says up 80%", 1.0, 2.0, up=True)),
        (Health.FALLING, Probe(False, True, "the agent says down", 1.0, 3.0, up=False)),
        (Health.DOWN, Probe(False, True, "the agent says down", 1.0, 4.0, up=False)),
        (Health.DOWN, Probe(False, False, "no answer", 1.0, 5.0)),
        (Health.RISING, Probe(True, True, "the agent says up", 1.0, 6.0, up=True)),
    )
    for second, (health, probe) in enumerate(words, start=1):
        verdict = Verdict(target_id("agent", ONE), health, float(second), probe)
        made.hear(Verdicts((verdict,), whole=False), float(second))
        one = made.weights["web"].servers[0]
        seen.append((one.effective, one.health.health))

    assert seen == [
        (3, Health.UP),
        (3, Health.UP),
        (3, Health.UP),
        (0, Health.DOWN),
        (0, Health.DOWN),
        (3, Health.UP),
    ]


def test_why_it_is_out_is_told() -> None:
    agent = replace(farm.PAGE, name="agent", type=CheckType.AGENT)
    service = replace(farm.WEB, feedback=Feedback(checks=("agent",)))
    made = Services()
    made.configure(replace(farm.CONFIG, checks=(farm.PAGE, agent), services=(service,)), {}, 0.0)
    made.hear(farm.verdicts((ONE, Health.UP), (TWO, Health.UP)), 0.0)

    probe = Probe(False, True, "the agent says down #disk", 1.0, 1.0, up=False)
    verdict = Verdict(target_id("agent", ONE), Health.DOWN, 1.0, probe)
    made.hear(Verdicts((verdict,), whole=False), 1.0)

    assert made.weights["web"].servers[0].reason == (
        "down, quiesced: its agent's last word is down: the agent says down #disk"
    )
