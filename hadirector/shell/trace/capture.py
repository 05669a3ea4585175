"""Sniffing with scapy on several interfaces, filtered in the kernel, bounded."""

import logging
import socket
import time
from collections.abc import Iterable
from typing import Any, Self

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)  # it warns of what it does not find

from scapy.arch.linux import L2ListenSocket  # noqa: E402  - the level must be set before
from scapy.sendrecv import AsyncSniffer  # noqa: E402
from scapy.utils import wrpcap  # noqa: E402

from hadirector.core.address import Address  # noqa: E402
from hadirector.core.trace.packets import ArpSeen, Seen  # noqa: E402
from hadirector.shell import bpf  # noqa: E402
from hadirector.shell.trace import client_filter, dissect  # noqa: E402

MOST = 5000  # packets kept; who has more looks at the pcap of a shorter trace


class _Ear(L2ListenSocket):
    """One interface; each packet knows whether it went out."""

    def __init__(self, interface: str, client: Address) -> None:
        super().__init__(iface=interface, promisc=False, nofilter=1)
        bpf.attach(self.ins, client_filter.program(client))
        self._outgoing = False

    def recv_raw(self, x: int = 65535) -> tuple[Any, bytes, float | None]:
        raw, origin, at = self._recv_raw(self.ins, x)
        self._outgoing = origin[2] == socket.PACKET_OUTGOING
        return self.LL, raw, at or time.time()

    def recv(self, x: int = 65535, **more: Any) -> Any:
        packet = super().recv(x, **more)
        if packet is not None:
            packet.direction = int(self._outgoing)
        return packet


class Capture:
    """What concerns `client` on these interfaces, from the beginning of `with` on.
    PermissionError without CAP_NET_RAW."""

    def __init__(self, interfaces: Iterable[str], client: Address) -> None:
        self._interfaces = tuple(interfaces)
        self._client = client
        self._kept: list[Any] = []
        self._ears: dict[_Ear, str] = {}
        self.packets: list[Seen] = []
        self.arp: list[ArpSeen] = []

    def __enter__(self) -> Self:
        try:
            for name in self._interfaces:
                self._ears[_Ear(name, self._client)] = name
        except BaseException:
            self._close()
            raise
        self.began = time.time()
        self._sniffer = AsyncSniffer(opened_socket=self._ears, prn=self._take, store=False)
        self._sniffer.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._sniffer.running:
                self._sniffer.stop()
        finally:
            self._close()

    def save(self, path: str) -> None:
        """Everything that was kept, for tcpdump and Wireshark. OSError as it comes."""
        wrpcap(path, self._kept)

    @property
    def full(self) -> bool:
        """No more is kept."""
        return len(self._kept) >= MOST

    def _take(self, packet: Any) -> None:
        """Called in scapy's thread; a list's append needs no lock."""
        if self.full or float(packet.time) < self.began:
            return
        told = dissect.read(packet, self.began)
        if told is None:
            return
        self._kept.append(packet)
        if isinstance(told, ArpSeen):
            self.arp.append(told)
        else:
            self.packets.append(told)

    def _close(self) -> None:
        for ear in self._ears:
            ear.close()
