"""Bringing a standby up to date: when it is believed to be complete, and how often what is sent."""

import pytest

from hadirector.core import campaign, pace
from hadirector.core.campaign import Campaign, Compared
from hadirector.core.syncer_messages import Measure, Standby

KEYS = [number.to_bytes(4, "big") for number in range(10_000)]
BUCKETS = 16


def by_bucket(keys: list[bytes]) -> dict[int, list[bytes]]:
    return {
        n: found for n in range(BUCKETS) if (found := [k for k in keys if k[-1] % BUCKETS == n])
    }


class Tried(Campaign):
    """One that is given keys."""

    def compare(
        self, missing: list[bytes], now: float, short: int = 0, total: int = 10_000
    ) -> Standby:
        stubborn = sum(self.stubborn(*each) for each in by_bucket(missing).items())
        return self.judge(Compared(total, len(missing), stubborn, True, 0, 90, short), now)

    def send(self, keys: list[bytes], most: bool, now: float) -> None:
        self.sent(by_bucket(keys), most, now)


def test_a_standby_is_ready_when_a_round_finds_nothing_missing() -> None:
    one = Tried("lb2")
    assert (one.standing.ready, one.standing.completeness) == (False, None)

    first = one.compare(KEYS, 10.0)
    one.send(KEYS, most=True, now=11.0)
    second = one.compare([], 12.0)

    assert (first.ready, first.missing, first.completeness) == (False, 10_000, 0.0)
    assert (second.ready, second.completeness, second.equal_at) == (True, 100.0, 12.0)
    assert (second.sent, second.resync_at, second.measure) == (10_000, 11.0, Measure.EXACT)
    assert one.done


def test_what_was_lost_on_the_way_keeps_it_from_being_ready_and_is_sent_more_often() -> None:
    one = Tried("lb2")
    one.compare(KEYS, 10.0)
    one.send(KEYS, most=True, now=11.0)
    assert one.copies == 1

    lost = KEYS[:3000]
    assert not one.compare(lost, 12.0).ready
    # 75 datagrams, of which 30 % are lost: with 7 copies of each 0.02 of them are.
    assert 0.3**one.copies * 75 < 0.05 <= 0.3 ** (one.copies - 1) * 75

    one.send(lost, most=False, now=13.0)
    assert one.compare([], 14.0).ready
    assert one.copies == 1


def test_a_network_that_loses_everything_does_not_make_the_copies_endless() -> None:
    one = Tried("lb2")
    for now in range(20):
        one.compare(KEYS, float(now))
        one.send(KEYS, most=not now, now=float(now))

    assert one.copies == campaign.MOST_COPIES
    assert one.done
    assert not one.standing.ready


def test_rows_that_a_reading_leaves_out_now_and_then_are_noise() -> None:
    one = Tried("lb2")
    one.compare(KEYS[:9], 1.0)
    one.send(KEYS[:9], most=False, now=1.0)
    one.compare(KEYS[9:18], 2.0)
    one.send(KEYS[9:18], most=False, now=2.0)

    other = one.compare(KEYS[18:27], 3.0)

    assert (other.ready, other.missing) == (True, 0)


def test_the_same_ones_missing_again_are_none() -> None:
    one = Tried("lb2")
    for now in range(4):
        judged = one.compare(KEYS[:9], float(now))
        one.send(KEYS[:9], most=False, now=float(now))

    assert (judged.ready, judged.missing) == (False, 9)


def test_what_was_sent_is_no_more_stubborn_once_all_was_there() -> None:
    one = Tried("lb2")
    one.compare(KEYS, 1.0)
    one.send(KEYS, most=True, now=2.0)
    assert one.compare([], 3.0).ready

    one.compare(KEYS[:3000], 1000.0)  # lost since then, of itself

    assert one.copies == 1


def test_where_the_standbys_kernel_counts_fewer_so_many_are_missing() -> None:
    one = Tried("lb2")
    one.judge(Compared(10_000, 0, 0, False, 0, 9_000), 1.0)
    assert one.standing.ready

    judged = one.judge(Compared(10_000, 0, 0, False, 0, 9_000, 3_000), 2.0)

    assert judged.reason == "of 9000 active connections the standby's kernel lacks 3000"
    assert (judged.ready, judged.missing, judged.completeness) == (False, 3_000, 70.0)
    assert (judged.measure, judged.equal_at) == (Measure.ESTIMATED, 1.0)


def test_a_standby_that_cannot_be_compared_is_not_ready_and_keeps_what_is_known_of_it() -> None:
    one = Tried("lb2")
    one.compare([], 1.0)

    one.unable("its syncer is not connected")

    assert (one.standing.ready, one.standing.total) == (False, 10_000)


def test_an_empty_table_is_complete() -> None:
    judged = Tried("lb2").compare([], 1.0, total=0)

    assert (judged.ready, judged.completeness) == (True, 100.0)


def test_the_pace_grows_until_the_standbys_kernel_drops_and_is_halved_then() -> None:
    one = pace.Pace(0.0, drops=3)
    for _ in range(20):
        one.report(3, 0)
    assert one.rate == pace.FASTEST

    one.report(5, 0)
    assert one.rate == pace.FASTEST / 2
    for drops in range(6, 40):
        one.report(drops, 0)
    assert one.rate == pace.SLOWEST


def test_the_pace_falls_while_much_is_waiting_there() -> None:
    one = pace.Pace(0.0, drops=0)

    one.report(0, pace.LONG + 1)

    assert one.rate < pace.FIRST


@pytest.mark.parametrize("rate", [10_000.0, 40_000.0])
def test_the_pace_is_kept_whatever_the_size_of_datagrams(rate: float) -> None:
    one = pace.Pace(0.0, 0)
    one.rate = rate
    now = 0.0
    for _ in range(1000):
        now += one.wait(40, now)

    assert 40_000 / now == pytest.approx(rate, rel=0.05)


def test_rounds_do_not_follow_each_other_for_ever_where_only_the_counters_speak_against_it() -> (
    None
):
    one = Tried("lb2")

    for number in range(campaign.PATIENCE):
        assert not one.done
        one.compare([], 10.0 + number, short=90)
    assert one.done
    assert not one.standing.ready

    assert one.compare([], 60.0).ready
    one.compare([], 120.0, short=90)
    assert not one.done


def test_a_master_that_has_not_seen_all_does_not_say_that_all_is_there() -> None:
    one = Tried("lb2")

    told = one.judge(Compared(10, 0, 0, False, 0, 1000), 10.0)

    assert told.ready
    assert told.reason == (
        "all 10 connections that its master has seen so far are there, "
        "and of 1000 active ones the kernels count as many"
    )
    assert "seen" not in one.judge(Compared(995, 0, 0, False, 0, 1000), 10.0).reason


def test_rounds_follow_each_other_again_once_somebody_asks() -> None:
    one = Tried("lb2")
    for number in range(campaign.PATIENCE):
        one.compare([], 10.0 + number, short=90)
    assert one.done

    one.begin_anew()

    assert not one.done


def test_rounds_are_further_and_further_apart_while_the_master_has_not_seen_its_own_table() -> None:
    one = Tried("lb2")
    pauses = []
    for now in range(5):
        one.judge(Compared(100 * now, 90, 0, False, 0, 10_000, 10000), float(now))
        pauses.append(one.pause)
    assert pauses == [campaign.AGAIN * factor for factor in (1, 2, 4, 8, 16)]

    one.judge(Compared(10_000, 90, 0, False, 0, 10_000, 90), 10.0)
    assert one.pause == campaign.AGAIN

    assert one.judge(Compared(10_000, 0, 0, False, 0, 10_000), 11.0).ready
    assert one.pause == campaign.PERIOD
