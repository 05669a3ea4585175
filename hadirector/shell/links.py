"""What the kernel has of links and addresses, kept in step with its events.

Read whole at start, every few seconds and when events were lost; in between each event is entered
as it comes. So a takeover knows the state of the interfaces without asking first.
"""

from collections.abc import Iterable
from dataclasses import replace

from hadirector.core.address import Address
from hadirector.core.election_types import Link
from hadirector.core.placement import Held, Put, Relet, Step, Take
from hadirector.shell import rtnetlink

_Key = tuple[int, Address, int]


class Table:
    """Links by index, addresses in the kernel's order."""

    def __init__(self) -> None:
        self._links: dict[int, rtnetlink.LinkEntry] = {}
        self._addresses: dict[_Key, rtnetlink.AddressEntry] = {}
        self._names: dict[str, rtnetlink.LinkEntry] = {}

    def read(self, route: rtnetlink.Route) -> bool:
        """Ask the kernel for all of it; whether anything was not known. KernelError as it comes."""
        links = [
            rtnetlink.read_link(body) for body in route.dump(rtnetlink.list_links(), "list links")
        ]
        addresses = [
            rtnetlink.read_address(body)
            for body in route.dump(rtnetlink.list_addresses(), "list addresses")
        ]
        before = (self._links, self._addresses)
        self._links = {link.index: link for link in links if link is not None}
        self._addresses = {_key(a): a for a in addresses if a is not None}
        self._name()
        return before != (self._links, self._addresses)

    def enter(self, change: rtnetlink.Change) -> bool:
        """Take in an event; whether it says anything new (a renewed lease does not)."""
        match change:
            case rtnetlink.LinkEntry(index=index):
                new = self._links.get(index) != change
                self._links[index] = change
                self._name()
                return new
            case rtnetlink.LinkGone(index):
                self._addresses = {k: a for k, a in self._addresses.items() if a.index != index}
                known = self._links.pop(index, None) is not None
                self._name()
                return known
            case rtnetlink.AddressEntry():
                new = self._addresses.get(_key(change)) != change
                self._addresses[_key(change)] = change
                return new
            case rtnetlink.AddressGone(index, address, prefix):
                return self._addresses.pop((index, address, prefix), None) is not None

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
                    known = self._addresses.get(_key(entry))
                    # The other flags are the kernel's; it will tell them.
                    self._addresses[_key(entry)] = (
                        entry
                        if known is None
                        else replace(known, protocol=protocol, finite=entry.finite)
                    )
            case Take((interface, address, prefix)):
                index = self.index(interface)
                if index is not None:
                    self._addresses.pop((index, address, prefix), None)

    def index(self, name: str) -> int | None:
        """The link's index; None when there is no such link."""
        return link.index if (link := self._names.get(name)) else None

    def hardware(self, name: str) -> bytes:
        """The link's Ethernet address; empty when it has none."""
        return link.hardware if (link := self._names.get(name)) else b""

    def links(self, names: Iterable[str]) -> tuple[Link, ...]:
        """The named links that exist, as the election wants them told."""
        wanted = set(names)
        return tuple(
            Link(link.name, link.up, self._usable(link.index))
            for link in self._links.values()
            if link.name in wanted
        )

    def held(self) -> tuple[Held, ...]:
        """Every address there is."""
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
            for a in self._addresses.values()
            if (link := self._links.get(a.index)) is not None
        )

    def present(self) -> frozenset[tuple[str, Address]]:
        """Every interface and address that go together just now."""
        return frozenset(
            (link.name, a.address)
            for a in self._addresses.values()
            if (link := self._links.get(a.index)) is not None
        )

    def _name(self) -> None:
        self._names = {link.name: link for link in self._links.values()}

    def _usable(self, index: int) -> tuple[Address, ...]:
        """Primaries first: events come in the order of time, a dump in the kernel's."""
        own = [a for a in self._addresses.values() if a.index == index and a.usable]
        own.sort(key=lambda a: a.flags & rtnetlink.SECONDARY)
        return tuple(a.address for a in own)


def _key(entry: rtnetlink.AddressEntry) -> _Key:
    return (entry.index, entry.address, entry.prefix)
