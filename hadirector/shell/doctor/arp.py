"""Asking a segment who has an address: ARP requests, and everybody's answers."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterable, Mapping

from hadirector.core.address import Address
from hadirector.core.doctor import frames
from hadirector.core.doctor.facts import ArpAnswer, Link

_ROUNDS, _PATIENCE = 2, 0.5  # requests for each address, and seconds to answer after each
_PAUSE = 0.001  # seconds between requests: no switch takes them for a storm


def ask(wanted: Iterable[tuple[str, Address]], links: Mapping[str, Link]) -> tuple[ArpAnswer, ...]:
    """Every answer to requests for these addresses on these interfaces. PermissionError without
    CAP_NET_RAW; an interface that is down answers nothing."""
    asked = list(wanted)
    answers: dict[ArpAnswer, None] = {}
    with contextlib.ExitStack() as stack:
        sockets = {}
        with selectors.DefaultSelector() as selector:
            for interface in dict.fromkeys(name for name, _ in asked):
                sock = stack.enter_context(_open(interface))
                selector.register(sock, selectors.EVENT_READ, interface)
                sockets[interface] = sock
            for _ in range(_ROUNDS):
                for interface, target in asked:
                    mac = frames.mac_bytes(links[interface].mac or "00" * 6)
                    with contextlib.suppress(OSError):  # down, or its queue is full
                        sockets[interface].send(frames.arp_request(mac, target))
                    time.sleep(_PAUSE)
                answers |= dict.fromkeys(_hear(selector, dict.fromkeys(asked)))
    return tuple(answers)


def _open(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(frames.ETH_ARP))
    try:
        sock.setblocking(False)
        sock.bind((interface, frames.ETH_ARP))
    except BaseException:
        sock.close()
        raise
    return sock


def _hear(
    selector: selectors.BaseSelector, asked: Mapping[tuple[str, Address], None]
) -> Iterable[ArpAnswer]:
    deadline = time.monotonic() + _PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            assert isinstance(key.fileobj, socket.socket)
            frame, origin = key.fileobj.recvfrom(2048)
            told = frames.arp_answer(frame[14:])
            if told is None or origin[2] == socket.PACKET_OUTGOING:
                continue
            if (key.data, told[0]) in asked:
                yield ArpAnswer(key.data, *told)
