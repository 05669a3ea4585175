"""What is told of targets that this node cannot reach."""

from hadirector.core.address import Address, Endpoint
from hadirector.core.blind import REASONS, Blind


def server(number: int) -> Endpoint:
    return Endpoint(Address(f"10.0.1.{number}"), 80)


def test_servers_out_of_reach_for_one_reason_are_one_sentence() -> None:
    blind = Blind()
    for number in (11, 12, 13):
        blind.add(f"page@{number}", server(number), "eth1 has no carrier")
        blind.add(f"port@{number}", server(number), "eth1 has no carrier")

    assert blind.reasons() == (
        "this node cannot reach 10.0.1.11:80 and 2 more: eth1 has no carrier; "
        "weights stay as they are",
    )


def test_only_news_count_as_changes() -> None:
    blind = Blind()

    changes = []
    for reason in ("x", "x", "y", None, None):
        if reason is None:
            blind.remove("a")
        else:
            blind.add("a", server(1), reason)
        changes.append(blind.changes)

    assert changes == [1, 1, 2, 3, 3]


def test_however_many_reasons_there_are_only_some_are_told() -> None:
    blind = Blind()
    for number in range(100):
        blind.add(str(number), server(number), f"reason {number}")

    assert len(blind.reasons()) == REASONS
