"""`accept: false`: the addresses are not the node's own for clients, only the services on them are.

What is addressed to such an address and belongs to no virtual service gets no answer: no echo, no
local server, no reset. It is done by IPsec policies (XFRM) without any IPsec:

    packet -> LOCAL_IN: IPVS takes what is for a service -> delivery: policy "block" drops the rest

- The policy is looked up where a packet is delivered to this host, behind IPVS. So the rule needs
  not know the services: by firewall mark, by any port, fragments and ICMP errors of balanced
  connections all pass, and so do forwarded packets and replies that connection tracking still has
  to translate. A filter in front of IPVS (INPUT chains, tc) would have to know all of these.
- Packets taken by IPVS never meet the policy, and cost nothing.
- IPv6 finds neighbours by ICMPv6 to the address itself, which must pass. ARP is not IP.
- A service whose server is this node itself is delivered with the virtual address still on it
  (direct routing and tunnels); its ports must pass.

The policies stand on every node all the time: without the address they do nothing, so no takeover
waits for them. Their priorities mark them as ours, and precede every VPN's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hadirector.core.address import Address, family
from hadirector.core.ipvs import Forward
from hadirector.core.settings.instances import Instance
from hadirector.core.settings.services import VirtualService

ALLOW, BLOCK = 112, 113  # priorities: VRRP's number and the next; lower ones are looked at first

ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136


@dataclass(frozen=True, slots=True, order=True)
class Policy:
    """What to do with packets to `address` that are delivered to this host.

    `protocol` 0: all. `port` is the destination port, 0: all; `kind` the type of an ICMPv6 message.
    """

    priority: int
    address: Address
    protocol: int = 0
    port: int = 0
    kind: int = 0

    @property
    def blocks(self) -> bool:
        """Whether they are dropped."""
        return self.priority == BLOCK


def policies(
    instances: Iterable[Instance],
    services: Iterable[VirtualService],
    is_local: Callable[[Address], bool],
) -> tuple[Policy, ...]:
    """All that should be there, what allows first: in this order they are put."""
    closed = {
        v.address
        for i in instances
        if not i.accept
        for v in (*i.virtual_addresses, *i.excluded_addresses)
    }
    found = {Policy(BLOCK, address) for address in closed}
    found |= {
        Policy(ALLOW, address, ICMPV6, kind=kind)
        for address in closed
        if family(address) == 6
        for kind in (_SOLICITATION, _ADVERTISEMENT)
    }
    for service in services if closed else ():
        keys = [key for key in service.keys if key.address in closed]
        if keys and any(is_local(a) for a in _kept(service)):
            found |= {Policy(ALLOW, key.address, key.protocol, key.port) for key in keys}
    return tuple(sorted(found))


def _kept(service: VirtualService) -> list[Address]:
    """The servers that get packets with the virtual address still on them."""
    spare = () if service.fallback is None else (service.fallback,)
    servers = (*service.real_servers, *spare)
    return [s.endpoint.address for s in servers if s.forward in (Forward.DR, Forward.TUN)]
