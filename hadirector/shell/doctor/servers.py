"""Asking real servers for a connection in each manner, and seeing by which way they answer.

The SYNs come from a port this process holds without listening, so the kernel refuses every answer
by itself, and the server forgets. Only the answers that come from a virtual address this host has
too never get that far: they are given up here.

Answers are seen by packet sockets, in front of every filter, with the interface and MAC they came
by.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from hadirector.core.address import Address, Endpoint, Family, family
from hadirector.core.doctor import frames
from hadirector.core.doctor.facts import Answer, Asked, Link, Manner, Path, Question
from hadirector.shell import bpf
from hadirector.shell import frames as frame_sender

_ROUNDS, _PATIENCE = 2, 1.0  # SYNs of each question, and seconds to answer after each
_PAUSE = 0.002  # seconds between them
_FIRST = 0x48414400  # sequence number of the first question; the next ones are 16 apart
_STEP = 16
_LOAD_X_IP_LENGTH, _LOAD_HALF_AT_X = 0xB1, 0x48  # BPF: x = 4 * (b[k] & 0xf); a = half at x + k


@dataclass(frozen=True, slots=True)
class Ways:
    """How packets get to servers. `macs`, by address, of those on a segment of ours: a server that
    direct routing needs and that has none is not asked."""

    links: Mapping[str, Link]
    paths: Mapping[Address, Path | None]
    macs: Mapping[Address, str]


def ask(questions: Sequence[Question], ways: Ways) -> tuple[Asked, ...]:
    """Every question with its answer. PermissionError without CAP_NET_RAW."""
    usable = [
        q
        for q in questions
        if q.manner is not Manner.VIRTUAL or q.tunnel is not None or q.server.address in ways.macs
    ]
    if not usable:
        return ()
    with _Asking(usable, ways) as asking:
        for _ in range(_ROUNDS):
            asking.send()
            asking.hear()
        return asking.told()


class _Asking:
    """The sockets of one examination, and the answers by the number of their question."""

    def __init__(self, questions: Sequence[Question], ways: Ways) -> None:
        self._questions = questions
        self._ways = ways
        self._answers: dict[int, Asked] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._port = stack.enter_context(_hold_port()).getsockname()[1]
            self._raw = {number: stack.enter_context(_raw(number)) for number in (4, 6)}
            self._frames = frame_sender.Frames()
            stack.callback(self._frames.close)
            self._selector = stack.enter_context(selectors.DefaultSelector())
            for number in (4, 6):
                ear = stack.enter_context(_ear(number, self._port))
                self._selector.register(ear, selectors.EVENT_READ)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def send(self) -> None:
        """Each question that has no answer yet."""
        for number, question in enumerate(self._questions):
            if number not in self._answers:
                source = Endpoint(question.source, self._port)
                syn = frames.syn(source, question.target, _FIRST + _STEP * number)
                self._bring(question, syn)
                time.sleep(_PAUSE)

    def hear(self) -> None:
        """Answers, until all are there or the time is up."""
        deadline = time.monotonic() + _PATIENCE
        while len(self._answers) < len(self._questions):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            for key, _ in self._selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                packet, origin = key.fileobj.recvfrom(2048)
                if origin[2] != socket.PACKET_OUTGOING:
                    self._take(packet, origin[0], frames.mac_text(origin[4]))

    def told(self) -> tuple[Asked, ...]:
        """All questions."""
        return tuple(
            self._answers.get(number, Asked(question, Answer.NOTHING))
            for number, question in enumerate(self._questions)
        )

    def _take(self, packet: bytes, interface: str, mac: str) -> None:
        came = frames.segment(packet)
        if came is None or came.destination.port != self._port:
            return
        number, off = divmod(came.acknowledged - 1 - _FIRST, _STEP)
        if off or not 0 <= number < len(self._questions) or number in self._answers:
            return
        question = self._questions[number]
        if came.source != question.target:
            return
        self._answers[number] = Asked(question, came.answer, interface, mac, came.mss)
        if question.manner is Manner.VIRTUAL and came.answer is Answer.OPEN:
            source = Endpoint(question.source, self._port)
            self._bring(question, frames.reset(source, question.target, came.acknowledged))

    def _bring(self, question: Question, packet: bytes) -> None:
        """Send it as the forwarding method does. What cannot go out gets no answer."""
        server = question.server.address
        if question.tunnel is not None:
            packet = frames.wrap(
                packet,
                question.source,
                server,
                question.tunnel,
                question.tunnel_port,
                self._port,
            )
        elif question.manner is Manner.VIRTUAL:
            path = self._ways.paths[server]
            assert path is not None, "a question is asked where there is a way"
            ends = frames.mac_bytes(self._ways.macs[server]), self._ways.links[path.interface].mac
            kind = frames.ETH_IPV6 if family(server) == 6 else frames.ETH_IP
            head = ends[0] + frames.mac_bytes(ends[1]) + kind.to_bytes(2, "big")
            self._frames.send(path.interface, head + packet)
            return
        number = family(server)
        with contextlib.suppress(OSError):
            self._raw[number].sendto(packet, (server, 0))


def _hold_port() -> socket.socket:
    """A TCP port nobody else gets. IPv4 and IPv6 in one, where the host has both."""
    number = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    holder = socket.socket(number, socket.SOCK_STREAM)
    if number == socket.AF_INET6:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    holder.bind(("", 0))
    return holder


def _raw(number: Family) -> socket.socket:
    """For whole IP packets, which the kernel routes."""
    return socket.socket(
        socket.AF_INET6 if number == 6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
    )


def _ear(number: Family, port: int) -> socket.socket:
    """Hears TCP to our port on every interface; what came before the filter is no answer."""
    kind = frames.ETH_IPV6 if number == 6 else frames.ETH_IP
    kinds = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    ear = socket.socket(socket.AF_PACKET, kinds, socket.htons(kind))
    where, at = (
        (6, ((bpf.LOAD_HALF, 0, 0, 42),))
        if number == 6
        else (9, ((_LOAD_X_IP_LENGTH, 0, 0, 0), (_LOAD_HALF_AT_X, 0, 0, 2)))
    )
    bpf.attach(
        ear,
        (
            (bpf.LOAD_BYTE, 0, 0, where),
            (bpf.JUMP_EQUAL, 0, len(at) + 2, frames.TCP),
            *at,
            (bpf.JUMP_EQUAL, 0, 1, port),
            (bpf.RETURN, 0, 0, bpf.ALL),
            (bpf.RETURN, 0, 0, bpf.NOTHING),
        ),
    )
    return ear
