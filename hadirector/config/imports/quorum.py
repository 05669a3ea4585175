"""A quorum of weights, as keepalived counts it, as one of servers."""


def servers_for(quorum: int, weights: list[int]) -> tuple[int, bool]:
    """How many servers of these weights make the quorum, and whether that is exactly the same:
    so it is when all weights are equal. At least 1, and at most all of them."""
    if not weights:
        return 1, False
    reached, count = 0, 0
    for weight in sorted(weights, reverse=True):
        if reached >= quorum:
            break
        reached, count = reached + weight, count + 1
    return max(1, count), len(set(weights)) == 1 and reached >= quorum
