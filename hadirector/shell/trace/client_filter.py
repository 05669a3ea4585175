"""The BPF program that lets through what concerns one client, and nothing else: on a busy director
the kernel drops the rest before anybody is woken.

It is a list of alternatives; each is loads that must all give the wanted value. A load beyond the
end of a packet ends the program with "drop", so nearer ones come first.
"""

from collections.abc import Iterator

from hadirector.core import address
from hadirector.core.address import Address, family
from hadirector.core.doctor.frames import ETH_ARP, ETH_IP, ETH_IPV6
from hadirector.shell import bpf
from hadirector.shell.bpf import Instruction

_LOAD_WORD = 0x20
_ETHER_TYPE = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL
_NET = 0xFFF00000  # SKF_NET_OFF: from the IP header on, whatever the link has in front of it
_ICMP, _IPIP, _UDP, _IPV6_IN, _GRE, _ICMPV6 = 1, 4, 17, 41, 47, 58

Load = tuple[int, int, int]
"""Size of the load, where, and the value it must give."""


def program(client: Address) -> tuple[Instruction, ...]:
    """For IP, tunnels and ICMP errors that have the client in them, and all of ARP."""
    found: list[Instruction] = []
    for loads in (((bpf.LOAD_HALF, _ETHER_TYPE, ETH_ARP),), *_alternatives(client)):
        last = len(loads) * 2
        for number, (size, where, value) in enumerate(loads):
            found.append((size, 0, 0, where))
            # Past the rest of this alternative and its return.
            found.append((bpf.JUMP_EQUAL, 0, last - 2 * number - 1, value))
        found.append((bpf.RETURN, 0, 0, bpf.ALL))
    return (*found, (bpf.RETURN, 0, 0, bpf.NOTHING))


def _alternatives(client: Address) -> Iterator[tuple[Load, ...]]:
    """Where the client's address may be: as source or destination of an IP header at `start`."""
    six = family(client) == 6
    source, destination = (8, 24) if six else (12, 16)
    four = ((bpf.LOAD_HALF, _ETHER_TYPE, ETH_IP),)
    outer_six = ((bpf.LOAD_HALF, _ETHER_TYPE, ETH_IPV6),)
    own = outer_six if six else four
    yield (*own, *_address(client, source))
    yield (*own, *_address(client, destination))
    inner = _IPV6_IN if six else _IPIP  # in GUE: behind its header, or also a remote checksum's 8
    for protocol, start in ((inner, 20), (_GRE, 24), (_UDP, 32), (_UDP, 40)):
        yield (*four, (bpf.LOAD_BYTE, _NET + 9, protocol), *_address(client, start + source))
    for protocol, start in ((inner, 40), (_GRE, 44), (_UDP, 52), (_UDP, 60)):
        yield (*outer_six, (bpf.LOAD_BYTE, _NET + 6, protocol), *_address(client, start + source))
    about = (bpf.LOAD_BYTE, _NET + 9, _ICMP), 28
    if six:
        about = (bpf.LOAD_BYTE, _NET + 6, _ICMPV6), 48
    error, start = about
    yield (*own, error, *_address(client, start + source))
    yield (*own, error, *_address(client, start + destination))
    if not six:  # an error about a packet in a tunnel
        yield (*own, error, *_address(client, start + 20 + source))


def _address(client: Address, where: int) -> Iterator[Load]:
    raw = address.packed(client)
    for at in range(0, len(raw), 4):
        yield _LOAD_WORD, _NET + where + at, int.from_bytes(raw[at : at + 4], "big")
