"""Priorities: what counts in the election, what a master says, and which advert is the better."""

from collections.abc import Iterable
from enum import Enum

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.core.advert import OWNER
from hadirector.core.settings.instances import Instance, Preempt
from hadirector.core.vrrp_states import Claim, Standing

LAST_RESORT = 1  # advertised while the director is silent, or the node in standby
STICKY = 254  # advertised by a healthy master under `preempt: never`


class Contest(Enum):
    """Whether a peer says that it is master too, and who is the better."""

    NONE = "none"
    WINS = "wins"
    LOSES = "loses"


def effective(instance: Instance, standing: Standing) -> int:
    """What counts in the election. Tracking neither lowers an owner nor makes one."""
    if standing.silent or standing.standby:
        return LAST_RESORT
    if instance.priority == OWNER:
        return OWNER
    return min(max(instance.priority + standing.delta, 1), OWNER - 1)


def advertised(instance: Instance, standing: Standing) -> int:
    """What a master says: under `preempt: never` 254, so that it is obeyed, unless degraded."""
    degraded = standing.silent or standing.standby or standing.delta < 0
    if instance.preempt is Preempt.NEVER and not degraded:
        return max(effective(instance, standing), STICKY)
    return effective(instance, standing)


def is_better(priority: int, source: Address, own: int, own_source: Address | None) -> bool:
    """Whether a master of priority `own` has to yield to this advert."""
    if priority != own or own_source is None:
        return priority > own
    # RFC 9568 6.4.3: ties go to the higher address.
    return address.packed(source) > address.packed(own_source)


def contest(claims: Iterable[Claim], own: int, own_source: Address | None) -> Contest:
    """How a master of priority `own` stands to the peers that say they are master as well."""
    better = [
        c.source is not None and is_better(c.priority, c.source, own, own_source) for c in claims
    ]
    return Contest.LOSES if any(better) else Contest.WINS if better else Contest.NONE
