"""What went over the wire, as tcpdump decodes it: an opinion that is not ours.

tcpdump writes to a file while things happen and is asked afterwards what it thinks of it. Instants
are the kernel's stamps, as monotonic seconds like everything else in the lab.
"""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from labkit.node import Node

_MAC = r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
_HEAD = re.compile(rf"(?P<at>\d+\.\d+) (?P<mac>{_MAC}) > {_MAC}, ethertype ")
_IP = re.compile(r"\((?:tos|class) 0x(?P<tos>[0-9a-f]+),.*?(?:ttl|hlim) (?P<ttl>\d+),")
_ADVERT = re.compile(
    r"(?P<source>\S+) > (?P<destination>\S+): VRRPv(?P<version>\d), Advertisement,"
    r"(?: \(ttl \d+\),)? vrid (?P<vrid>\d+), prio (?P<priority>\d+)"
    r"(?:, authtype (?P<auth>[^,]+))?, intvl (?P<interval>\d+)(?P<unit>c?s), length \d+"
    r"(?P<flaw>.*?), addrs(?:\(\d+\))?: (?P<addresses>\S+)(?P<rest>.*)$"
)
_ARP = re.compile(r"Request who-has (?P<asked>\S+) (?:\(\S+\) )?tell (?P<told>\S+),")
_ECHO = re.compile(r"\bICMP6?,? echo (?P<kind>request|reply), id 77, seq (?P<number>\d+)")
_LOST = re.compile(r"(\d+) packets? dropped by kernel")
_NA = re.compile(
    r"neighbor advertisement, .*?tgt is (?P<address>[0-9a-f:]+), Flags \[(?P<flags>.*?)\]"
)


@dataclass(frozen=True, slots=True)
class Advert:
    """A VRRP advertisement; `interval` in seconds, `flaw` is what tcpdump thinks is wrong."""

    at: float
    mac: str
    source: str
    destination: str
    ttl: int
    tos: int
    version: int
    vrid: int
    priority: int
    authentication: str
    interval: float
    addresses: frozenset[str]
    flaw: str


@dataclass(frozen=True, slots=True)
class Question:
    """An echo request of the client."""

    at: float
    number: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An echo reply of the virtual address, and who sent it."""

    at: float
    number: int
    mac: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """A gratuitous ARP request or an unsolicited neighbor advertisement."""

    at: float
    mac: str
    address: str


@dataclass(frozen=True, slots=True)
class Seen:
    """All of a capture that matters here, in order."""

    adverts: tuple[Advert, ...] = ()
    questions: tuple[Question, ...] = ()
    answers: tuple[Answer, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    strange: tuple[str, ...] = ()  # VRRP packets that tcpdump does not take for adverts
    text: str = ""  # all of it, in tcpdump's words


class Capture:
    """A context manager; `seen` is complete once the block has ended."""

    def __init__(self, switch: Node, bridge: str, directory: Path) -> None:
        self._switch = switch
        self._bridge = bridge
        self._path = directory / f"capture-{time.monotonic_ns()}"
        self.seen = Seen()

    def __enter__(self) -> "Capture":
        # On the bridge itself, and promiscuous: unicast between the two passes here as well.
        # Immediate, or what came last stays in a buffer of the kernel's.
        command = ["tcpdump", "-i", self._bridge, "--immediate-mode", "-U", "-Z", "root"]
        # With room: two directors that forward to each other, while an address moves from one to
        # the other, pass a packet on as often as its hop limit allows.
        command += ["-s", "2048", "-B", "32768", "-w", str(self._path)]
        self._tcpdump = self._switch.spawn(command, subprocess.PIPE)
        assert self._tcpdump.stderr is not None
        for line in self._tcpdump.stderr:
            if b"listening on" in line:
                return self
        raise RuntimeError("tcpdump does not listen")

    def __exit__(self, *_: object) -> None:
        self._tcpdump.send_signal(signal.SIGTERM)
        told = self._tcpdump.communicate(timeout=10)[1].decode()
        lost = _LOST.search(told)
        command = ["tcpdump", "-tt", "-e", "-n", "-v", "-r", str(self._path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.seen = read(text, time.monotonic() - time.time())
        if lost and lost[1] != "0":
            strange = (*self.seen.strange, f"{lost[1]} packets were not captured")
            self.seen = replace(self.seen, strange=strange)
        self._path.unlink()


def read(text: str, offset: float) -> Seen:
    """tcpdump's words (-tt -e -n -v); `offset` is monotonic less real time."""
    adverts: list[Advert] = []
    questions: list[Question] = []
    answers: list[Answer] = []
    announcements: list[Announcement] = []
    strange: list[str] = []
    for line in _packets(text):
        head = _HEAD.match(line)
        if head is None:
            continue
        at, mac = float(head["at"]) + offset, head["mac"]
        if echo := _ECHO.search(line):
            if echo["kind"] == "request":
                questions.append(Question(at, int(echo["number"])))
            else:
                answers.append(Answer(at, int(echo["number"]), mac))
        elif " ICMP" in line and "VRRP" in line:
            continue  # an error that quotes an advert: nobody listens there
        elif "VRRP" in line:
            advert = _advert(line, at, mac)
            adverts += [advert] if advert else []
            strange += [] if advert else [line]
        elif address := _announced(line):
            announcements.append(Announcement(at, mac, address))
    heard = (tuple(adverts), tuple(questions), tuple(answers), tuple(announcements))
    return Seen(*heard, tuple(strange), text)


def _packets(text: str) -> Iterator[str]:
    """Each packet on one line: the rest of it is indented."""
    whole = ""
    for line in text.splitlines():
        if line[:1].isspace():
            whole += " " + line.strip()
            continue
        if whole:
            yield whole
        whole = line
    if whole:
        yield whole


def _advert(line: str, at: float, mac: str) -> Advert | None:
    ip, said = _IP.search(line), _ADVERT.search(line)
    if ip is None or said is None:
        return None
    unit = 1.0 if said["unit"] == "s" else 0.01
    return Advert(
        at=at,
        mac=mac,
        source=said["source"],
        destination=said["destination"],
        ttl=int(ip["ttl"]),
        tos=int(ip["tos"], 16),
        version=int(said["version"]),
        vrid=int(said["vrid"]),
        priority=int(said["priority"]),
        authentication=said["auth"] or "none",
        interval=int(said["interval"]) * unit,
        addresses=frozenset(said["addresses"].split(",")),
        flaw=said["flaw"].lstrip(", "),
    )


def _announced(line: str) -> str | None:
    """The address an announcement is about."""
    if arp := _ARP.search(line):
        return arp["told"] if arp["asked"] == arp["told"] else None
    if na := _NA.search(line):
        return None if "solicited" in na["flags"] else na["address"]
    return None
