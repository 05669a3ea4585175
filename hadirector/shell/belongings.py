"""All that a master holds, on the kernel: devices, then addresses, then routes, then rules.

Each kind has its hand (vmac_device, addresses, routes), which does what its planner in the core
says. Here is the order: placed from first to last, removed from last to first.
"""

from collections.abc import Callable, Iterable

from hadirector.core import election_types as et
from hadirector.core.node_view import addresses_of
from hadirector.core.placement import Key
from hadirector.core.settings.instances import Instance, VirtualAddress
from hadirector.shell import rtnetlink
from hadirector.shell.addresses import Addresses
from hadirector.shell.lease import Lease
from hadirector.shell.links import Table
from hadirector.shell.routes import Routes
from hadirector.shell.vmac_device import Devices


class Belongings:
    """What this process put there, and the way to put more. `changed` is called when something
    has to be made so again."""

    def __init__(
        self,
        route: rtnetlink.Route,
        table: Table,
        lease: Lease,
        marks: bool,
        changed: Callable[[], None],
    ) -> None:
        self.addresses = Addresses(route, table, lease, marks)
        self.devices = Devices(route, table, changed)
        self._routes = Routes(route, table, changed)
        self._table = table
        self._virtual: tuple[VirtualAddress, ...] = ()
        self._has_routes = False
        self._refusals = et.Refusals(())
        self._obstacles = et.Obstacles(())

    @property
    def own(self) -> frozenset[Key]:
        """The addresses put there by this process and not taken off again."""
        return self.addresses.own

    def configure(self, instances: Iterable[Instance]) -> None:
        """Other settings came; what they mean for the kernel comes by `reconcile`."""
        every = tuple(instances)
        self._virtual = tuple(v for i in every for f in i.families() for v in addresses_of(i, f))
        self._has_routes = any(i.virtual_routes or i.virtual_rules for i in every)

    def concern(self, interfaces: frozenset[str]) -> None:
        """The links of these, and all about virtual addresses, are worth telling."""
        self._table.concern(interfaces, frozenset(v.address for v in self._virtual))

    def move(self, action: et.Place | et.SetLease | et.Drop) -> None:
        """Put these on, give them their new lifetime, or take them off, now."""
        match action:
            case et.Place(addresses=addresses, routes=routes, rules=rules):
                self.devices.rise(frozenset(a.interface for a in addresses))
                self.addresses.place(addresses)
                self._routes.place((*routes, *rules))
            case et.SetLease(addresses=addresses):
                self.addresses.place(addresses)
            case et.Drop(addresses=addresses, routes=routes, rules=rules):
                self._routes.drop((*routes, *rules))
                self.addresses.drop(addresses)
                self.devices.fall(frozenset(a.interface for a in addresses) - self._busy())

    def doubt(self) -> None:
        """Links or addresses changed: the kernel may have taken routes along."""
        self._routes.doubt()

    def reconcile(self, desired: et.Desired) -> int:
        """Make it so that exactly this is there; how many steps that took."""
        self._routes.follow(self._has_routes)
        busy = frozenset(a.interface for a in desired.addresses)
        steps = self.devices.follow(desired.devices, busy)
        steps += self.addresses.reconcile(desired.addresses)
        steps += self._routes.reconcile((*desired.routes, *desired.rules))
        return steps

    def news(self) -> list[et.Input]:
        """What the core does not know yet: what was restored, what is refused and in the way."""
        told: list[et.Input] = []
        refusals = et.Refusals(tuple(self._routes.refused.items()))
        if refusals != self._refusals:
            self._refusals = refusals
            told.append(refusals)
        obstacles = self._in_the_way()
        if obstacles != self._obstacles:
            self._obstacles = obstacles
            told.append(obstacles)
        restored = (*self.addresses.restored, *self._routes.restored)
        self.addresses.restored.clear()
        self._routes.restored.clear()
        return [*told, et.Restored(restored)] if restored else told

    def _in_the_way(self) -> et.Obstacles:
        """Virtual addresses that cannot be held here: the system has configured them itself, or
        their device cannot be had."""
        refused = self.devices.refused
        without = tuple(
            et.Obstacle(v.address, v.interface, refused[v.interface])
            for v in self._virtual
            if v.interface in refused
        )
        return et.Obstacles((*self.addresses.obstacles(self._virtual), *without))

    def clear(self) -> None:
        """Nothing of ours stays."""
        self._routes.clear()
        self.addresses.reconcile(())
        self.addresses.restore()
        self.devices.clear()

    def close(self) -> None:
        """Give up what listens; what was put stays."""
        self._routes.close()
        self.devices.close()

    def _busy(self) -> frozenset[str]:
        return frozenset(interface for interface, _, _ in self.addresses.own)
