"""Virtual addresses on the kernel: carries out what core/placement plans.

Everything is written in one batch over a socket that is already open, with the state of the
interfaces known beforehand: that is all a takeover waits for.
"""

import errno
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hadirector.core import placement
from hadirector.core.address import Address
from hadirector.core.election_types import Obstacle, PlacedAddress
from hadirector.core.placement import Key, Ownership, Put, Relet, Step, Take
from hadirector.core.settings.instances import VirtualAddress
from hadirector.shell import rtnetlink
from hadirector.shell.lease import Lease
from hadirector.shell.links import Table
from hadirector.shell.netlink import KernelError, Request

log = logging.getLogger(__name__)

_HARMLESS = {errno.EADDRNOTAVAIL, errno.ENODEV}  # what was to go is gone
_CONF = Path("/proc/sys/net/ipv4/conf")


class Addresses:
    """The addresses this process put there, and the way to put more."""

    def __init__(
        self, route: rtnetlink.Route, table: Table, lease: Lease, marks: bool = True
    ) -> None:
        self.noted: frozenset[Key] = frozenset()  # left by a former process, by its file
        self.stale = False  # something was refused: the table has to be read again
        self.restored: list[PlacedAddress] = []  # by `reconcile`, for whoever tells of it
        self._route = route
        self._table = table
        self._lease = lease
        self._marks = marks  # whether the kernel keeps IFA_PROTO
        self._own: dict[Key, Put] = {}
        self._leased: dict[Key, tuple[Put, int | None]] = {}
        self._promoted: dict[str, str] = {}
        self._complaints: frozenset[str] = frozenset()

    @property
    def own(self) -> frozenset[Key]:
        """Put there by this process and not taken off again."""
        return frozenset(self._own)

    @property
    def ownership(self) -> Ownership:
        """What is ours, for the planner."""
        return Ownership(self.own, self.noted)

    def place(self, wanted: Iterable[PlacedAddress]) -> None:
        """Put these on, or give them their new lifetime, now."""
        these = tuple(wanted)
        homes = {name for each in these for name in (each.interface, each.beside)}
        steps = placement.place(these, self._table.held(homes), self.ownership)
        self._carry_out(steps, these)

    def drop(self, unwanted: Iterable[PlacedAddress]) -> None:
        """Take these off, now."""
        these = tuple(unwanted)
        there = self._table.held(each.interface for each in these)
        steps = placement.drop(these, there, self.ownership)
        gone = {(each.interface, each.address) for each in these}
        before = self.own
        self._own = {k: p for k, p in self._own.items() if (p.interface, p.address) not in gone}
        if not self._marks:  # a renewal under way may bring them back, and unmarked
            self.noted |= before - self.own
        self._carry_out(steps, ())

    def reconcile(self, wanted: tuple[PlacedAddress, ...]) -> int:
        """Make it so that exactly these are there; how many steps that took. What was gone though
        we had put it there is `restored`."""
        held = self._table.held()
        names = self._names()
        gone = names - {(h.interface, h.address) for h in held}
        steps = placement.reconcile(wanted, held, self.ownership)
        self._carry_out(steps, wanted)
        if gone:
            # On an interface that is down they went with it, and come and go as they like.
            up = {name for name, _ in gone if self._table.is_up(name)}
            back = gone & self._table.present(up)
            self.restored += [each for each in wanted if (each.interface, each.address) in back]
        return len(steps)

    def obstacles(self, virtual: Iterable[VirtualAddress]) -> tuple[Obstacle, ...]:
        """Virtual addresses that the system has configured itself."""
        return placement.obstacles(virtual, self._table.held(), self.ownership)

    def restore(self) -> None:
        """Give promote_secondaries back where we changed it."""
        for interface, value in self._promoted.items():
            _write_setting(_CONF / interface / "promote_secondaries", value)
        self._promoted.clear()

    def _names(self) -> set[tuple[str, Address]]:
        return {(put.interface, put.address) for put in self._own.values()}

    def _carry_out(self, steps: list[Step], wanted: tuple[PlacedAddress, ...]) -> None:
        """Write the steps and remember what came of them."""
        taken = {step.key for step in steps if isinstance(step, Take)}
        if taken:  # out of the lease first: it must not renew what is about to go
            self._own = {key: put for key, put in self._own.items() if key not in taken}
            self._set_lease()
        if steps:
            self._promote(steps)
            self._write(steps)
        self._follow_lifetimes(wanted)
        self._set_lease()

    def _write(self, steps: list[Step]) -> None:
        possible = [(s, request) for s in steps if (request := self._request(s)) is not None]
        try:
            refused = self._route.execute([request for _, request in possible], "set addresses")
        except KernelError as error:
            log.error("addresses: %s", error)
            self.stale = True
            return
        refusals = {refusal.place: refusal for refusal in refused}
        complaints = set()
        for place, (step, _) in enumerate(possible):
            refusal = refusals.get(place)
            if refusal is None:
                self._enter(step)
            elif not (isinstance(step, Take) and refusal.errno in _HARMLESS):
                complaints.add(f"{_words(step)}: {refusal.text or errno.errorcode[refusal.errno]}")
        self._complain(frozenset(complaints))
        self.stale = self.stale or bool(refused)

    def _enter(self, step: Step) -> None:
        self._table.note(step, placement.MARK)
        if isinstance(step, Put):
            self._own[step.key] = step
        elif isinstance(step, Relet):
            self._own[step.put.key] = step.put

    def _follow_lifetimes(self, wanted: tuple[PlacedAddress, ...]) -> None:
        """A lease that only became longer or shorter needs no step: the next renewal carries it."""
        lifetimes = {(each.interface, each.address): each.lifetime for each in wanted}
        for key, put in self._own.items():
            lifetime = lifetimes.get((put.interface, put.address), put.lifetime)
            if (lifetime is None) == (put.lifetime is None) and lifetime != put.lifetime:
                self._own[key] = replace(put, lifetime=lifetime)

    def _set_lease(self) -> None:
        leased = {
            key: (put, self._table.index(put.interface))
            for key, put in self._own.items()
            if put.lifetime is not None
        }
        if leased == self._leased:
            return
        self._leased = leased
        renewals = {
            key: request
            for key, (put, _) in leased.items()
            if (request := self._request(Relet(put))) is not None
        }
        lifetimes = [put.lifetime for put, _ in leased.values() if put.lifetime is not None]
        self._lease.hold(renewals, min(lifetimes, default=0))

    def _request(self, step: Step) -> Request | None:
        """The message that carries out a step; None where its interface is not there."""
        if isinstance(step, Take):
            interface, address, prefix = step.key
            index = self._table.index(interface)
            return None if index is None else rtnetlink.take_address(index, address, prefix)
        put = step.put if isinstance(step, Relet) else step
        index = self._table.index(put.interface)
        if index is None:
            return None
        make = rtnetlink.renew_address if isinstance(step, Relet) else rtnetlink.put_address
        flags = rtnetlink.NODAD | (rtnetlink.NOPREFIXROUTE if put.bare else 0)
        return make(index, put.address, put.prefix, flags, placement.MARK, put.lifetime)

    def _promote(self, steps: list[Step]) -> None:
        """Where ours may be the first of a net, its end must not take the others along."""
        interfaces = {
            step.interface
            for step in steps
            if isinstance(step, Put) and placement.needs_promotion(step)
        }
        for interface in interfaces - self._promoted.keys():
            path = _CONF / interface / "promote_secondaries"
            try:
                value = path.read_text().strip()
            except OSError:
                continue  # the interface went away
            if value != "0":
                continue
            if _write_setting(path, "1"):
                self._promoted[interface] = value
            else:
                self._complain(frozenset({f"{path} cannot be set to 1"}))

    def _complain(self, complaints: frozenset[str]) -> None:
        """Each trouble once, until it is another."""
        for text in sorted(complaints - self._complaints):
            log.error("addresses: %s", text)
        self._complaints = complaints


def _words(step: Step) -> str:
    verb = "take" if isinstance(step, Take) else "put"
    interface, address, prefix = step.put.key if isinstance(step, Relet) else step.key
    return f"{verb} {address}/{prefix} on {interface}"


def _write_setting(path: Path, value: str) -> bool:
    try:
        path.write_text(value)
    except OSError:
        return False
    return True
