"""Connection records as they pass, for whoever watches (`hadirector sync --watch`).

Records name clients, so they are shown over the control socket alone. A busy director sends more
of them than anybody can read: so many a second are decoded, the rest is only counted, and nothing
is while nobody watches.
"""

import math
from dataclasses import dataclass

from hadirector.core import ipvs_sync
from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Forward
from hadirector.core.ipvs_sync import Record, SyncError

PER_SECOND = 500  # records
EVERY = 0.2  # seconds between two messages of them
_SHARE = int(PER_SECOND * EVERY)

_FLAGS = (
    (ipvs_sync.NO_OUTPUT, "no-output"),
    (ipvs_sync.INACTIVE, "inactive"),
    (ipvs_sync.OUT_SEQUENCE, "out-sequence"),
    (ipvs_sync.IN_SEQUENCE, "in-sequence"),
    (ipvs_sync.NO_CLIENT_PORT, "no-client-port"),
    (ipvs_sync.TEMPLATE, "template"),
)


@dataclass(frozen=True, slots=True)
class WatchRecords:
    """Somebody watches, as long as this level holds."""


@dataclass(frozen=True, slots=True)
class SeenRecord:
    """One record as it passed. `at` is CLOCK_BOOTTIME; `sent`: by this node's kernel or resync,
    else it came from a peer. `timeout` in seconds."""

    at: float
    sent: bool
    protocol: str
    client: str
    virtual: str
    server: str
    state: str
    forward: str
    flags: tuple[str, ...]
    fwmark: int
    timeout: int


@dataclass(frozen=True, slots=True)
class SeenRecords:
    """Some that passed, and how many more did that are not shown."""

    records: tuple[SeenRecord, ...]
    skipped: int = 0


class RecordWatch:
    """What is watched of the stream."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._records: list[SeenRecord] = []
        self._skipped = 0

    def follow(self, until: float) -> None:
        """Somebody watches until then."""
        self._until = until

    def hear(self, payload: bytes, sync_id: int, sent: bool, now: float) -> None:
        """A datagram of records passes."""
        if now >= self._until:
            return
        try:
            records = ipvs_sync.split(payload, sync_id)
        except SyncError:
            return  # it is counted where it was refused
        for raw in records:
            if len(self._records) >= _SHARE:
                self._skipped += 1
                continue
            try:
                self._records.append(seen(ipvs_sync.decode(raw), sent, now))
            except SyncError:
                self._skipped += 1

    def take(self) -> SeenRecords | None:
        """What passed since the last time; None: nothing."""
        if not self._records and not self._skipped:
            return None
        told = SeenRecords(tuple(self._records), self._skipped)
        self._records, self._skipped = [], 0
        return told


def seen(record: Record, sent: bool, now: float) -> SeenRecord:
    """A record in words."""
    return SeenRecord(
        now,
        sent,
        ipvs_sync.PROTOCOLS.get(record.protocol, str(record.protocol)),
        str(Endpoint(record.client, record.client_port)),
        str(Endpoint(record.virtual, record.virtual_port)),
        str(Endpoint(record.server, record.server_port)),
        record.state_name,
        _forward(record.flags & ipvs_sync.FORWARD_MASK),
        tuple(word for flag, word in _FLAGS if record.flags & flag),
        record.fwmark,
        record.timeout,
    )


def _forward(number: int) -> str:
    try:
        return Forward(number).name.lower()
    except ValueError:
        return str(number)
