"""Whether an address is one of this host's: what peers are told to send to must be.

Binding would not tell: with net.ipv4.ip_nonlocal_bind, common beside load balancers, it always
succeeds. The kernel's choice of a source does: towards an address of our own it is that address.
"""

import errno
import socket

from hadirector.core.address import Address, family
from hadirector.core.settings.cluster import Config

_ANY_PORT = 9  # discard; a connected UDP socket sends nothing


def elsewhere(config: Config) -> str:
    """That the address `nodes` gives this node is not on this host, or nothing."""
    own = next((node.address for node in config.nodes if node.name == config.node), None)
    if own is None or not config.peers or is_here(own):
        return ""
    return f"nodes.{config.node}.address {own} is not on this host: no peer can reach it there"


def is_here(address: Address) -> bool:
    """Whether packets to it stay on this host; nothing is sent."""
    kind = socket.AF_INET6 if family(address) == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect((address, _ANY_PORT))
        except OSError as error:
            return error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
        return str(probe.getsockname()[0]) == address
