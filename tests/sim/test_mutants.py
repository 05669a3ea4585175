"""Planted faults are noticed: each here with a seed known to catch it. All of them, with the seeds
it takes: `python -m tests.sim.mutants`."""

import pytest

from tests.sim.mutants import MUTANTS, Mutant, PlantedError, hunt, planted, source_of

KNOWN = [mutant for mutant in MUTANTS if mutant.seed is not None]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_finds_its_words(mutant: Mutant) -> None:
    source = source_of(mutant.module)

    assert planted(mutant, source) != source


def test_a_mutant_without_its_words_is_an_error() -> None:
    stale = Mutant("stale", "vrrp", "words that are gone", "others")

    with pytest.raises(PlantedError, match="stale: 'words that are gone' is 0 times in vrrp"):
        planted(stale, "source")


@pytest.mark.parametrize("mutant", KNOWN, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught_by_its_seed(mutant: Mutant) -> None:
    assert mutant.seed is not None

    result = hunt(mutant, mutant.seed, 1)

    assert result.startswith(f"1 {mutant.seed} ")
