"""Sealed connection records as somebody on the network has them: recorded, forged, replayed.

Written from the description of the format (hadirector/core/relay_wire.py), not from the product.
"""

import json
import os
import random
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from labkit import topology
from labkit.node import Node
from labkit.setup import VRID

PORT = 8848
GROUP = "224.0.0.81"
KEY_ID, SECRET = 1, bytes.fromhex("5a" * 32)
CLIENT = "203.0.113.66"  # of every forged connection
RECORDS, TALK = b"HDS1", b"HDP2"

_HEAD = struct.Struct("!4sBBH8sQQ")
_UDP_AT = 20
_ETH_P_ALL = 0x0003


def key(directory: Path) -> str:
    """A key file for both directors, and the line that names it."""
    path = directory / "cluster.key"
    path.write_text(f"{KEY_ID} {SECRET.hex()}\n")
    path.chmod(0o600)
    return f"key_file: {path}\n"


def forged_records(sync_id: int = VRID) -> bytes:
    """A sync datagram of the kernel's kind, with one connection of nobody."""
    addresses = [socket.inet_aton(a) for a in (CLIENT, topology.VIP, topology.back(11))]
    ports = (random.randrange(1024, 65_536), 80, 8080)
    record = struct.pack("!BBHIHHHHII4s4s4s", 0, 6, 36, 0, 1, *ports, 0, 900, *addresses)
    return struct.pack("!BBHBbH", 0, sync_id, 8 + len(record), 1, 1, 0) + record


@dataclass(frozen=True, slots=True)
class Head:
    """What a recorded datagram of records says of itself."""

    sender: bytes
    epoch: int
    sequence: int

    @classmethod
    def of(cls, raw: bytes) -> "Head":
        """From its first bytes."""
        return cls(*_HEAD.unpack_from(raw)[4:7])


def seal(head: Head, payload: bytes, key_id: int, secret: bytes, sync_id: int = VRID) -> bytes:
    """The datagram, as a node with this key would send it."""
    fields = (RECORDS, key_id, sync_id, len(payload), head.sender, head.epoch, head.sequence)
    sealed = _HEAD.pack(*fields) + payload
    mac = blake2b(sealed, digest_size=16, key=secret, person=b"hadirector relay").digest()
    return sealed + mac


class Tap:
    """Hears what passes to the group or between the directors' ports on the back network, as seen
    by one node there. A context manager; `heard` is complete once the block has ended."""

    def __init__(self, node: Node, directory: Path, keep: int = 200) -> None:
        self._node = node
        self._path = directory / f"sealed-{time.monotonic_ns()}"
        self._keep = keep
        self._pid = 0
        self.heard: list[bytes] = []  # those of lb1, the first ones
        self.kinds: Counter[str] = Counter()

    def __enter__(self) -> "Tap":
        self._pid = self._node.fork(self._live)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)
        told = json.loads(self._path.read_text())
        self.heard = [bytes.fromhex(text) for text in told["heard"]]
        self.kinds = Counter(told["kinds"])

    def _live(self) -> None:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("back", _ETH_P_ALL))
        sock.settimeout(0.1)
        stopped: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
        heard: list[str] = []
        kinds: Counter[str] = Counter()
        while not stopped:
            try:
                packet = sock.recv(65_535)
            except TimeoutError:
                continue
            if len(packet) < 28 or packet[0] != 0x45 or packet[9] != socket.IPPROTO_UDP:
                continue
            if struct.unpack_from("!H", packet, 22)[0] != PORT:
                continue
            size = struct.unpack_from("!H", packet, 24)[0]
            raw = packet[_UDP_AT + 8 : _UDP_AT + size]
            kinds[kind_of(raw)] += 1
            if socket.inet_ntoa(packet[12:16]) == topology.back(1) and len(heard) < self._keep:
                heard.append(raw.hex())
        self._path.write_text(json.dumps({"heard": heard, "kinds": kinds}))


def kind_of(raw: bytes) -> str:
    """records, talk, or unsealed: anything else."""
    return {RECORDS: "records", TALK: "talk"}.get(raw[:4], "unsealed")


def send(node: Node, raws: Iterable[bytes], source: str, to: str = GROUP) -> None:
    """From a node, as if from this address: whoever is root on a network can."""
    packets = [_packet(raw, source, to) for raw in raws]

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            index = socket.if_nametoindex("back")
            where = struct.pack("=4s4si", bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
            for packet in packets:
                sock.sendto(packet, (to, 0))
                time.sleep(0.0005)

    _wait(node.fork(work))


def _packet(raw: bytes, source: str, to: str) -> bytes:
    udp = struct.pack("!HHHH", PORT, PORT, 8 + len(raw), 0) + raw
    addresses = socket.inet_aton(source) + socket.inet_aton(to)
    return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 1, 17, 0) + addresses + udp


def _wait(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("the intruder failed")


def entered(node: Node) -> int:
    """Forged connections in the kernel's table."""
    hexadecimal = socket.inet_aton(CLIENT).hex().upper()
    return node.net("ip_vs_conn").read_text().count(hexadecimal)


def lose(node: Node, percent: int) -> None:
    """From now on the node's back link loses this share of the directors' sync datagrams."""
    for line in (
        "qdisc add dev back root handle 1: prio",
        f"qdisc add dev back parent 1:3 handle 30: netem loss {percent}%",
        f"filter add dev back parent 1: protocol ip prio 1 u32 match ip dport {PORT} 0xffff "
        "match ip protocol 17 0xff flowid 1:3",
    ):
        node.run("tc", *line.split())


def lose_no_more(node: Node) -> None:
    """What `lose` did is over."""
    node.run("tc", "qdisc", "del", "dev", "back", "root")
