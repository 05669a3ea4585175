"""What operators want of one server, beside its health: core/overrides keeps it, core/weight obeys.

enabled: as configured. drained: weight 0, its connections stay. disabled: out of IPVS, its
connections expire at their next packet.
"""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.messages import Wish


class Admin(Enum):
    """The words of status; each is stronger than the one before it."""

    ENABLED = "enabled"
    DRAINED = "drained"
    DISABLED = "disabled"


_ORDER = tuple(Admin)
_WISHES = {Wish.NONE: Admin.ENABLED, Wish.DRAIN: Admin.DRAINED, Wish.MAINT: Admin.DISABLED}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is in force for one server. `why` and `weight_why` say who ordered it, why, and until
    when; `weight` replaces the configured one."""

    admin: Admin = Admin.ENABLED
    why: str = ""
    weight: int | None = None
    weight_why: str = ""

    def with_wish(self, wish: Wish) -> "Ruling":
        """With what the server's own operator asks for: whoever wants it out is heard."""
        asked = _WISHES[wish]
        if _ORDER.index(asked) <= _ORDER.index(self.admin):
            return self
        why = f"by its own operator (agent says {wish.value})"
        return Ruling(asked, why, self.weight, self.weight_why)


FREE = Ruling()
