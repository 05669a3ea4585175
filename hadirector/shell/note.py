"""What one election process leaves to the next: when each router last advertised as a master.

It lies in memory the supervisor holds (a memfd), so it outlives the process that wrote it and
writing costs no system call. One slot a router:

    offset 0   float64   CLOCK_BOOTTIME of its last advert as a master; 0: it is no master
    offset 8   uint8     family, 4 or 6; 0: the slot is free
    offset 9   uint8     length of the name
    offset 10            the instance's name, UTF-8

The name is written before the family, both before the instant, and an aligned float64 is stored
whole: a process killed at any point leaves a note that can be read.
"""

import mmap
import os
import struct

from hadirector.core.address import Family
from hadirector.core.election_types import LastAdverts

SLOT = 128
SLOTS = 2048
SIZE = SLOT * SLOTS
LONGEST_NAME = SLOT - 10

_INSTANT = struct.Struct("=d")


class Full(Exception):
    """No slot is left, or the name fits none; the router is not noted."""


class Note:
    """The shared memory behind a descriptor; grown to its size where it is smaller."""

    def __init__(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size < SIZE:
            os.ftruncate(descriptor, SIZE)
        self._memory = mmap.mmap(descriptor, SIZE)
        self._slots: dict[tuple[str, Family], int] = {}
        self._last: LastAdverts = {}
        self._read()

    def last_adverts(self) -> LastAdverts:
        """What a former process noted; None for a router that is no master."""
        return dict(self._last)

    def write(self, instance: str, family: Family, sent_at: float | None) -> None:
        """Note a router's last advert as a master; None: it is none. Full as it says."""
        at = self._slots.get((instance, family))
        if at is None:
            at = self._claim(instance, family)
        _INSTANT.pack_into(self._memory, at, sent_at or 0.0)

    def _read(self) -> None:
        for at in range(0, SIZE, SLOT):
            length = self._memory[at + 9]
            family = self._memory[at + 8]
            if length > LONGEST_NAME or (family != 4 and family != 6):
                continue
            name = self._memory[at + 10 : at + 10 + length].decode(errors="replace")
            key: tuple[str, Family] = (name, 4 if family == 4 else 6)
            self._slots[key] = at
            self._last[key] = _INSTANT.unpack_from(self._memory, at)[0] or None

    def _claim(self, instance: str, family: Family) -> int:
        name = instance.encode()
        if len(name) > LONGEST_NAME:
            raise Full(f"{instance}: a name of more than {LONGEST_NAME} bytes cannot be noted")
        taken = set(self._slots.values())
        at = next((at for at in range(0, SIZE, SLOT) if at not in taken), None)
        if at is None:
            at = self._free_oldest()
        if at is None:
            raise Full(f"{instance}: more than {SLOTS} routers cannot be noted")
        _INSTANT.pack_into(self._memory, at, 0.0)
        self._memory[at + 9] = len(name)
        self._memory[at + 10 : at + 10 + len(name)] = name
        self._memory[at + 8] = family
        self._slots[(instance, family)] = at
        return at

    def _free_oldest(self) -> int | None:
        """A slot of a router that is no master, if there is one: names come and go with reloads."""
        for key, at in self._slots.items():
            if _INSTANT.unpack_from(self._memory, at)[0] == 0.0:
                del self._slots[key]
                self._memory[at + 8] = 0
                return at
        return None
