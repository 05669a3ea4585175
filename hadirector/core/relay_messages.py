"""What the syncer tells the director of its relay (core/relay)."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RelayPeer:
    """One peer's records. `heard_at` is CLOCK_BOOTTIME, None before its relay's first beat; `key`
    the ID of the key it seals with. `taken` datagrams went to the kernel, `again` of them after
    they had been lost on the way, `lost` were given up, `behind` is for how many seconds the
    oldest missing one is missing; `sent_again` is what it asked for, `refused` by flaw."""

    alive: bool
    heard_at: float | None
    key: int | None
    taken: int
    again: int
    lost: int
    behind: float
    sent_again: int
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelayState:
    """The relay as it is. `sent` datagrams went to the peers. `overrun` were lost between the
    kernel and the relay of this node, in either direction, or could not be sealed; `unsent` found
    no room on the wire, and are sent again when they are asked for. `local` were sent to the
    private interface by another program of this host, `strangers` came from nobody we know, by
    flaw; none of them counted for anything. `troubles`: what keeps it from working, a sentence
    each."""

    peers: dict[str, RelayPeer]
    sent: int = 0
    unsent: int = 0
    overrun: int = 0
    local: int = 0
    strangers: dict[str, int] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()
