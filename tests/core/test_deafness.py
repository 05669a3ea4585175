"""Who fell silent with whom, where very many do."""

import time

from hadirector.core.address import canonical
from hadirector.core.deafness import Deafness
from hadirector.core.messages import Health, Probe, Verdict

MANY = 10_000


def test_ten_thousand_that_fall_silent_at_once_do_not_hold_the_director_up() -> None:
    deafness = Deafness()
    deafness.keep({f"c@{n}": canonical(f"10.0.{n >> 8}.{n & 255}") for n in range(MANY)})
    probe = Probe(ok=False, answered=False, detail="no answer", ms=500.0, at=13.0)
    began = time.process_time()

    for _ in range(5):  # they are told of every other second
        for n in range(MANY):
            since = 12.0 + n / MANY
            deafness.hear(Verdict(f"c@{n}", Health.DOWN, since, probe, alone=True))

    assert time.process_time() - began < 5.0  # looking at all pairs took over a minute
