"""How often a setting that is fought over is told of."""

from hadirector.core.repairs import Repairs

LINE = ("net.ipv4.ip_forward", "was set to 0")


def test_a_setting_is_told_at_once_and_a_fight_once_a_minute() -> None:
    repairs = Repairs()

    told = [repairs.tell([LINE], float(second)) for second in range(61)]

    assert told[0] == [LINE]
    assert not any(told[1:60])
    assert told[60] == [(LINE[0], "changed and set back 60 times more within a minute")]


def test_a_setting_that_was_left_alone_for_a_minute_is_told_at_once_again() -> None:
    repairs = Repairs()
    repairs.tell([LINE], 0.0)
    repairs.tell([], 61.0)

    assert repairs.tell([LINE], 62.0) == [LINE]
