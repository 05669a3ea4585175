"""What the kernel has of links and addresses, kept in step with its events.

Read whole at start; in between each event is entered as it comes, so a takeover knows the state of
the interfaces without asking first. Every few seconds, and when events were lost, everything is
read again beside the work (`Survey`): a host may have thousands of links that are not ours.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from hadirector.core import placement, vmac
from hadirector.core.address import Address
from hadirector.core.election_types import Link
from hadirector.core.placement import Held, Put, Relet, Step, Take
from hadirector.shell import rtnetlink

Key = tuple[int, Address, int]
"""Link index, address, prefix: what the kernel tells addresses apart by."""


class Table:
    """Links by index, addresses in the kernel's order."""

    def __init__(self) -> None:
        self._links: dict[int, rtnetlink.LinkEntry] = {}
        self._addresses: dict[Key, rtnetlink.AddressEntry] = {}
        self._names: dict[str, rtnetlink.LinkEntry] = {}
        self._by_link: dict[int, list[rtnetlink.AddressEntry]] | None = None  # made when asked for
        self._news: set[int | Key] | None = None  # told by events while a survey is under way
        self._interfaces: frozenset[str] | None = None
        self._virtual: frozenset[Address] = frozenset()
        self._moved: set[str] = set()

    def concern(self, interfaces: frozenset[str], virtual: frozenset[Address]) -> None:
        """Only what is new about these, and about addresses of ours, is worth telling."""
        self._interfaces, self._virtual = interfaces, virtual

    def read(self, route: rtnetlink.Route) -> bool:
        """Ask the kernel for all of it; whether anything was not known. KernelError as it comes."""
        links = [
            rtnetlink.read_link(body) for body in route.dump(rtnetlink.list_links(), "list links")
        ]
        addresses = [
            rtnetlink.read_address(body)
            for body in route.dump(rtnetlink.list_addresses(), "list addresses")
        ]
        self.survey_begins()
        return self.survey_ends(
            {link.index: link for link in links if isinstance(link, rtnetlink.LinkEntry)},
            {key_of(a): a for a in addresses if a is not None},
        )

    def survey_begins(self) -> None:
        """From now on events are newer than what is being read."""
        self._news = set()

    def survey_ends(
        self,
        links: dict[int, rtnetlink.LinkEntry],
        addresses: dict[Key, rtnetlink.AddressEntry],
    ) -> bool:
        """Take on what was read; whether anything was not known."""
        for key in self._news or ():
            if not isinstance(key, int):
                _keep(addresses, self._addresses, key)
            elif not _keep(links, self._links, key):
                for gone in [k for k in addresses if k[0] == key]:
                    del addresses[gone]
        known = links == self._links and addresses == self._addresses
        self._links, self._addresses = links, addresses
        before, self._names = self._names, {link.name: link for link in links.values()}
        moved = (n for n, link in self._names.items() if _moved(before.get(n), link))
        self._moved.update(name for name in moved if self._counts({name}))
        self._by_link = None
        self._news = None
        return not known

    def enter(self, change: rtnetlink.Change) -> bool:
        """Take in an event; whether it says anything new that concerns us."""
        match change:
            case rtnetlink.LinkEntry():
                return self._enter_link(change)
            case rtnetlink.LinkMoved(link):
                news, counts = self._enter_link(link), self._counts({link.name})
                self._moved.update({link.name} if counts else ())
                return news or counts
            case rtnetlink.LinkGone(index):
                return self._forget_link(index)
            case rtnetlink.AddressEntry():
                known = self._addresses.get(key_of(change))
                self._put(key_of(change), change)
                return known != change and self._concerns(change)
            case rtnetlink.AddressGone(index, address, prefix):
                gone = self._take((index, address, prefix))
                return gone is not None and self._concerns(gone)

    def note(self, step: Step, protocol: int) -> None:
        """Enter what was just written, before its event comes."""
        match step:
            case Put() | Relet():
                put = step.put if isinstance(step, Relet) else step
                index = self.index(put.interface)
                if index is not None:
                    flags = rtnetlink.NOPREFIXROUTE if put.bare else 0
                    entry = rtnetlink.AddressEntry(
                        index, put.address, put.prefix, flags, protocol, put.lifetime is not None
                    )
                    known = self._addresses.get(key_of(entry))
                    if known is not None:  # the other flags are the kernel's; it will tell them
                        entry = replace(known, protocol=protocol, finite=entry.finite)
                    self._put(key_of(entry), entry)
            case Take((interface, address, prefix)):
                index = self.index(interface)
                if index is not None:
                    self._take((index, address, prefix))

    def known(self, entry: rtnetlink.AddressEntry) -> rtnetlink.AddressEntry:
        """The entry there is already, if it says the same: comparing it again is cheap then."""
        before = self._addresses.get(key_of(entry))
        return before if before is not None and before == entry else entry

    def index(self, name: str) -> int | None:
        """The link's index; None when there is no such link."""
        return link.index if (link := self._names.get(name)) else None

    def name(self, index: int) -> str:
        """The link's name; empty when there is no such link."""
        return link.name if (link := self._links.get(index)) else ""

    def hardware(self, name: str) -> bytes:
        """The link's Ethernet address; empty when it has none."""
        return link.hardware if (link := self._names.get(name)) else b""

    def take_moved(self) -> frozenset[str]:
        """Links that reach the network by another way since this was asked last."""
        moved, self._moved = frozenset(self._moved), set()
        return moved

    def is_up(self, name: str) -> bool:
        """Whether there is such a link, up and with carrier."""
        return bool((link := self._names.get(name)) and link.up)

    def is_enabled(self, name: str) -> bool:
        """Whether there is such a link, administratively up."""
        return bool((link := self._names.get(name)) and link.enabled)

    def vrf_table(self, name: str) -> int:
        """The routing table of the VRF a link is in; 0 when it is in none."""
        link = self._names.get(name)
        master = self._links.get(link.master) if link else None
        return master.vrf_table if master else 0

    def found(self, names: Iterable[str]) -> dict[str, vmac.Found]:
        """The named links that exist, and all that are marked as ours."""
        wanted = set(names)
        return {
            link.name: vmac.Found(
                link.name,
                link.kind,
                self.name(link.parent),
                link.hardware,
                link.alias,
                link.enabled,
                self.name(link.master) if self.vrf_table(link.name) else "",
            )
            for link in self._links.values()
            if link.name in wanted or link.alias == vmac.ALIAS
        }

    def links(self, names: Iterable[str]) -> tuple[Link, ...]:
        """The named links that exist, as the election wants them told."""
        found = (self._names.get(name) for name in sorted(set(names)))
        return tuple(
            Link(link.name, link.up, self._usable(link.index), self._settles(link.index))
            for link in found
            if link is not None
        )

    def held(self, interfaces: Iterable[str] | None = None) -> tuple[Held, ...]:
        """Every address there is, or those on some interfaces."""
        names = self._names if interfaces is None else set(interfaces)
        there = [link for name in names if (link := self._names.get(name))]
        return tuple(
            Held(
                link.name,
                a.address,
                a.prefix,
                bool(a.flags & rtnetlink.NOPREFIXROUTE),
                a.finite,
                a.protocol,
                link.loopback,
            )
            for link in there
            for a in self._on(link.index)
        )

    def present(self, interfaces: Iterable[str]) -> frozenset[tuple[str, Address]]:
        """Every interface and address of these that go together just now."""
        return frozenset(
            (name, a.address)
            for name in set(interfaces)
            if (link := self._names.get(name)) is not None
            for a in self._on(link.index)
        )

    # --- helpers -----------------------------------------------------------------------------

    def _enter_link(self, link: rtnetlink.LinkEntry) -> bool:
        before = self._links.get(link.index)
        if _moved(self._names.get(link.name), link) and self._counts({link.name}):
            self._moved.add(link.name)
        self._links[link.index] = link
        self._tell(link.index)
        if before is not None and before.name != link.name:
            self._names.pop(before.name, None)
        self._names[link.name] = link
        names = {link.name} if before is None else {link.name, before.name}
        return before != link and self._counts(names)

    def _forget_link(self, index: int) -> bool:
        for a in self._on(index):
            self._take(key_of(a))
        self._tell(index)
        link = self._links.pop(index, None)
        if link is None:
            return False
        if self._names.get(link.name) is link:
            del self._names[link.name]
        return self._counts({link.name})

    def _tell(self, key: int | Key) -> None:
        if self._news is not None:
            self._news.add(key)

    def _counts(self, names: set[str]) -> bool:
        return self._interfaces is None or not self._interfaces.isdisjoint(names)

    def _concerns(self, entry: rtnetlink.AddressEntry) -> bool:
        if entry.protocol == placement.MARK or entry.address in self._virtual:
            return True
        link = self._links.get(entry.index)
        return link is None or self._counts({link.name})

    def _put(self, key: Key, entry: rtnetlink.AddressEntry) -> None:
        self._tell(key)
        if self._addresses.get(key) != entry:
            self._addresses[key] = entry
            self._by_link = None

    def _take(self, key: Key) -> rtnetlink.AddressEntry | None:
        self._tell(key)
        gone = self._addresses.pop(key, None)
        if gone is not None:
            self._by_link = None
        return gone

    def _on(self, index: int) -> list[rtnetlink.AddressEntry]:
        """The addresses of a link."""
        if self._by_link is None:
            self._by_link = {}
            for a in self._addresses.values():
                self._by_link.setdefault(a.index, []).append(a)
        return self._by_link.get(index, [])

    def _usable(self, index: int) -> tuple[Address, ...]:
        """Primaries first: events come in the order of time, a dump in the kernel's."""
        own = [a for a in self._on(index) if a.usable]
        own.sort(key=lambda a: a.flags & rtnetlink.SECONDARY)
        return tuple(a.address for a in own)

    def _settles(self, index: int) -> bool:
        return any(not a.usable and not a.flags & rtnetlink.DADFAILED for a in self._on(index))


_K = TypeVar("_K")
_V = TypeVar("_V")


def _keep(read: dict[_K, _V], known: dict[_K, _V], key: _K) -> bool:
    """What is known of this one is newer than what was read; whether it is there."""
    if key in known:
        read[key] = known[key]
        return True
    read.pop(key, None)
    return False


def _moved(before: rtnetlink.LinkEntry | None, link: rtnetlink.LinkEntry) -> bool:
    """Whether its neighbours may have to be told anew where it is."""
    if not link.up:
        return False
    known = (before.index, before.up, before.hardware) if before else None
    return known != (link.index, link.up, link.hardware)


def key_of(entry: rtnetlink.AddressEntry) -> Key:
    """The name of an address."""
    return (entry.index, entry.address, entry.prefix)
