"""A configuration beside the facts, and the questions every check asks of the two."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from hadirector.core.address import Address, Family, family
from hadirector.core.doctor.facts import Daemon, Facts, LocalAddress
from hadirector.core.ipvs import Forward
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import Instance, VirtualAddress
from hadirector.core.settings.services import RealServer, VirtualService

AROUND = (Forward.DR, Forward.TUN)  # answers go around the director


@dataclass(frozen=True, slots=True)
class Case:
    """What a check is given."""

    config: Config
    facts: Facts

    def servers(self, *manners: Forward) -> Iterator[tuple[VirtualService, RealServer]]:
        """Every real server, the fallbacks too, of these forwarding methods; all without any."""
        yield from servers(self.config, *manners)

    def holds(self, what: Address) -> bool:
        """This host has the address now, but on lo, where it would be a real server's."""
        return any(a.address == what and a.interface != "lo" for a in self.facts.addresses)

    def is_master(self) -> bool:
        """Its daemon says so and no other node's does; where none answers: it holds a virtual
        address, or nobody elects anybody. An address alone may be there by somebody's hand."""
        if self.facts.daemon is not None and self.facts.daemon.states:
            return self._is_elected(self.facts.daemon)
        return not self.config.instances or any(
            self.holds(virtual.address) for _, virtual in virtual_addresses(self.config)
        )

    def _is_elected(self, daemon: Daemon) -> bool:
        peers = [peer.states for peer in daemon.peers.values() if peer.alive]
        return any(
            state == "master" and not any(told.get(name) == "master" for told in peers)
            for name, state in daemon.states.items()
        )

    def network_of(self, what: Address) -> LocalAddress | None:
        """The address of this host whose network this one is in, the narrowest; not itself, and
        not one that is virtual, which comes and goes."""
        floating = {virtual.address for _, virtual in virtual_addresses(self.config)}
        return network_of(what, tuple(a for a in self.facts.addresses if a.address not in floating))

    def interface_of(self, virtual: Address) -> str | None:
        """Where clients' packets for a virtual address come in."""
        for instance, each in virtual_addresses(self.config):
            if each.address == virtual:
                return device_of(instance, each)
        held = next((a for a in self.facts.addresses if a.address == virtual), None)
        return held.interface if held and held.interface != "lo" else None

    def sysctl(self, name: str) -> str:
        """The value; empty where the kernel has none such."""
        return self.facts.sysctls.get(name, "")


def servers(config: Config, *manners: Forward) -> Iterator[tuple[VirtualService, RealServer]]:
    """Every real server, the fallbacks too, of these forwarding methods; all without any."""
    for service in config.services:
        for server in (*service.real_servers, service.fallback):
            if server is not None and (not manners or server.forward in manners):
                yield service, server


def virtual_addresses(config: Config) -> Iterator[tuple[Instance, VirtualAddress]]:
    """Every address an instance of this node takes over, the excluded ones too."""
    for instance in config.instances:
        for each in (*instance.virtual_addresses, *instance.excluded_addresses):
            yield instance, each


def device_of(instance: Instance, virtual: VirtualAddress) -> str:
    """The interface by which the address is reached: that under a virtual MAC's device."""
    return virtual.interface or instance.interface


def network_of(what: Address, among: tuple[LocalAddress, ...]) -> LocalAddress | None:
    """The narrowest on-link network an address is in; a host's own /32 is none."""
    full = 32 if family(what) == 4 else 128
    fits = [
        a
        for a in among
        if family(a.address) == family(what)
        and a.prefix < full
        and a.interface != "lo"
        and a.address != what
        and ip_address(what) in ip_network(f"{a.address}/{a.prefix}", strict=False)
    ]
    return max(fits, key=lambda a: a.prefix, default=None)


def setting(kind: str, interface: str, name: str) -> str:
    """`net.ipv4.conf.eth0/100.rp_filter`: sysctl(8) takes a slash for a dot within a name."""
    return f"net.{kind}.conf.{interface.replace('.', '/')}.{name}"


def ip_version(number: Family) -> str:
    """`ipv4` or `ipv6`."""
    return f"ipv{number}"
