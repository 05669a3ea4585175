"""What this node's election is told, what it said last, and whether that still holds.

An election that hangs says nothing of it: its lease ends, its addresses go, and its last word
would stay for good. A word is good for SILENCE seconds; after that nobody is told that this node
is master, neither an operator nor a peer.
"""

from dataclasses import replace

from hadirector.core import messages
from hadirector.core.keys import Secrets
from hadirector.core.messages import Router, RouterStateName
from hadirector.core.services import Change
from hadirector.core.settings.cluster import Config

SILENCE = 3.0  # seconds: it speaks once a second
FIRST_WORD = 15.0  # seconds for a process that starts: imports on a busy host are slow
STOOD_STILL = 1.5  # seconds between our own turns: what was said meanwhile waits to be read

DIED = "the election process died; a new one starts"


def settings(
    config: Config, secrets: Secrets, stance: messages.Stance
) -> messages.ElectionSettings:
    """All it is to know but what changes by itself."""
    return messages.ElectionSettings(
        config.node,
        config.instances,
        config.sync_groups,
        config.vip_lease,
        f"{config.state_dir}/addresses",
        secrets,
        stance,
    )


class OwnElection:
    """`routers` as told last, or as INIT while that is not known; `unknown` says why it is not."""

    def __init__(self, now: float) -> None:
        self.routers: tuple[Router, ...] = ()
        self.unknown = ""
        self._heard_at: float | None = None
        self._patient_until = now + FIRST_WORD
        self._turned_at = now

    def hear(self, routers: tuple[Router, ...], now: float) -> list[Change]:
        """Its word; news when it ends a silence."""
        was_silent, self.unknown = self.unknown not in ("", DIED), ""
        self.routers, self._heard_at = routers, now
        self._patient_until = now + SILENCE
        return [Change("election_back", "election", "it speaks again")] if was_silent else []

    def died(self, now: float) -> None:
        """The supervisor says so, again and again until there is a new one."""
        self._patient_until = now + FIRST_WORD
        if self.unknown != DIED:
            self._forget(DIED, now)

    def look(self, now: float) -> list[Change]:
        """Whether its silence begins now."""
        gap, self._turned_at = now - self._turned_at, now
        if gap > STOOD_STILL:
            self._patient_until = max(self._patient_until, now + SILENCE)
        if now <= self._patient_until or self.unknown not in ("", DIED):
            return []
        seconds = SILENCE if self._heard_at is not None else FIRST_WORD
        reason = f"the election is silent for more than {seconds:g} s: what it does is not known"
        self._forget(reason, self._heard_at if self._heard_at is not None else now)
        return [Change("election_silent", "election", reason)]

    def _forget(self, reason: str, since: float) -> None:
        self.unknown = reason
        self.routers = tuple(
            replace(
                r,
                state=RouterStateName.INIT,
                reason=reason,
                since=since,
                leased=False,
                held=(),
                voice=None,
            )
            for r in self.routers
        )
