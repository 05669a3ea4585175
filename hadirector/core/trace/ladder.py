"""The way of a connection as a ladder: one line for each packet, with the addresses it had.

seconds  client           director            server
 0.0000    |----- SYN ------->|                  |    front  192.0.2.100:4000 > 192.0.2.10:80
 0.0001    |                  |------ SYN ------>|    back   192.0.2.100:4000 > 10.0.1.11:80
"""

from collections.abc import Iterator

from hadirector.core.ipvs import Forward
from hadirector.core.trace.packets import TCP, Icmp, Seen
from hadirector.core.trace.walk import Leg, Step, Walk

_WIDE = 18  # between two rails
_EMPTY = " " * _WIDE
_MOST = 60  # lines; the middle of a long connection is of little use
_WORDS = {"S": "SYN", "A": "ACK", "F": "FIN", "R": "RST"}


def draw(walk: Walk) -> list[str]:
    """All lines."""
    head = f"  {'seconds':>9}  {'client':<{_WIDE - 2}}{'director':^{_WIDE - 8}}{'server':>{_WIDE}}"
    lines = [head, *_lines(walk)]
    if len(lines) <= _MOST:
        return lines
    half = _MOST // 2
    return [*lines[:half], f"  ... {len(lines) - 2 * half} more ...", *lines[-half:]]


def _lines(walk: Walk) -> Iterator[str]:
    around = walk.server is not None and walk.server.forward is not Forward.NAT
    told = False
    for step in walk.steps:
        if around and not told and step.leg is Leg.TO_DIRECTOR and _goes_on(step.packet):
            told = True
            text = _arrow("SYN ACK, not by this host", 2 * _WIDE + 1, left=True)
            yield f"  {'':>9}    |{text}|"
        yield _line(step)


def _goes_on(packet: Seen) -> bool:
    return packet.protocol == TCP and "A" in packet.flags and "S" not in packet.flags


def _line(step: Step) -> str:
    packet = step.packet
    label = _label(packet) + (" again" if step.again else "")
    match step.leg:
        case Leg.TO_DIRECTOR:
            rungs = f"|{_arrow(label, _WIDE)}|{_EMPTY}|"
        case Leg.TO_SERVER:
            rungs = f"|{_EMPTY}|{_arrow(label, _WIDE)}|"
        case Leg.FROM_SERVER:
            rungs = f"|{_EMPTY}|{_arrow(label, _WIDE, left=True)}|"
        case Leg.TO_CLIENT | Leg.UNCHANGED:
            rungs = f"|{_arrow(label, _WIDE, left=True)}|{_EMPTY}|"
        case Leg.ERROR:
            rungs = f"|{_EMPTY}|{_EMPTY}|"
    return f"  {packet.at:9.4f}    {rungs}    {packet.interface}  {_addresses(packet)}"


def _addresses(packet: Seen) -> str:
    ends = f"{packet.source} > {packet.target}"
    if packet.icmp is not None:
        return f"{_icmp(packet.icmp)}: about {ends}"
    if packet.outer is not None:
        outer = packet.outer
        return f"{ends}  in {outer.kind.name.lower()} {outer.source} > {outer.target}"
    return f"{ends}  to {packet.mac_to}" if packet.outgoing and packet.mac_to else ends


def _icmp(icmp: Icmp) -> str:
    size = f" (MTU {icmp.mtu})" if icmp.mtu else ""
    return f"ICMP {icmp.trouble.value}{size} from {icmp.sender} to {icmp.receiver}"


def _label(packet: Seen) -> str:
    words = [_WORDS[flag] for flag in packet.flags if flag in _WORDS]
    if packet.size:
        words = [word for word in words if word != "ACK"] + [f"{packet.size} bytes"]
    return " ".join(words) or "datagram"


def _arrow(label: str, width: int, *, left: bool = False) -> str:
    """`-- SYN ---->`, as wide as asked."""
    shown = f" {label} "[: width - 3]
    line = shown.center(width - 1, "-")
    return f"<{line}" if left else f"{line}>"
