"""Connections that a standby's kernel does not take, since it has another server for them.

Clients change servers: a template or a flow of UDP goes to the next one when its server left. What
a standby has of them is of the server before, and its kernel (ip_vs_sync.c, ip_vs_proc_conn) keeps
it, measured on 6.1:

    active                       its old connection ends, and the new one is taken
    inactive (UDP, closing TCP)  the record is ignored: it could be the end of the old connection
    template                     the old one takes over state and time, and keeps its server: it
                                 lives on for as long as records come

So of what was given in two rounds and is missing all the same, another record goes first, which
makes way: for an inactive connection the same one as an active one, for a template one that gives
it a second to live. Neither harms where the records were only lost.
"""

from collections.abc import Iterable

from hadirector.core.campaign import Keys
from hadirector.core.ipvs_sync import INACTIVE, is_template

GONE_AFTER = 2.0  # seconds until a template that makes way is gone: its last one, and some
_LAST = (1).to_bytes(4, "big")  # seconds


class InVain:
    """What was given to one standby in the last two rounds."""

    def __init__(self) -> None:
        self._last: Keys = {}
        self._before: Keys = {}

    def stuck(self, bucket: int, keys: Iterable[bytes]) -> list[bytes]:
        """Those of these, missing from a bucket, that were given both times."""
        if bucket not in self._last or bucket not in self._before:
            return []
        twice = set(self._last[bucket]).intersection(self._before[bucket])
        return [key for key in keys if key in twice]

    def given(self, keys: Keys) -> None:
        """These are given in this round."""
        self._last, self._before = keys, self._last


def making_way(record: bytes) -> bytes | None:
    """The record that goes before this one; None: it needs none."""
    if is_template(record):
        return record[:20] + _LAST + record[24:]
    flags = int.from_bytes(record[4:8], "big")
    if not flags & INACTIVE:
        return None
    return record[:4] + (flags & ~INACTIVE).to_bytes(4, "big") + record[8:]
