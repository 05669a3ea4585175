"""Datagrams: udp and dns probes, and what silence and ICMP mean."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core.address import Endpoint, canonical
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.core.settings.questions import RECORDS, Dns, Transport, Udp
from hadirector.shell.probes import dns_message, udp
from hadirector.shell.probes.datagram import READS, DatagramEngine
from hadirector.shell.probes.search import Search
from tests.shell.probing import answered, check, descriptors, good, probe, serving

Answer = Callable[[bytes], list[bytes]]


@asynccontextmanager
async def answering(answer: Answer, address: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on a free port, with these datagrams for each that comes."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind((address, 0))

        def readable() -> None:
            data, sender = sock.recvfrom(65_535)
            for one in answer(data):
                sock.sendto(one, sender)

        loop.add_reader(sock, readable)
        try:
            yield sock.getsockname()[1]
        finally:
            loop.remove_reader(sock)


def asks(expect: str | None = None, timeout: float = 5.0) -> Check:
    return replace(check(CheckType.UDP, timeout), udp=Udp(b"ping", expect))


def closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_the_expected_reply_is_good_over_both_families(address: str) -> None:
    before = descriptors()
    async with answering(lambda data: [data + b" pong"], address) as port:
        assert await probe(asks("^ping pong$"), port, address) == good("reply matches")
        outcome = await probe(asks("^other"), port, address)

    assert outcome == answered("reply does not match /^other/: it starts 'ping pong'")
    assert descriptors() <= before


async def test_bytes_are_matched_as_bytes() -> None:
    async with answering(lambda _: [b"\x00\x81\xff"]) as port:
        assert await probe(asks(r"(?s)\A\x00.\xff"), port) == good("reply matches")


async def test_silence_is_down_where_a_reply_is_expected_and_up_where_none_is() -> None:
    async with answering(lambda _: []) as port:
        wanting = await probe(asks("pong", timeout=0.2), port)
        content = await probe(asks(timeout=0.2), port)

    assert wanting == Outcome(Cause.SILENT, "no reply within 200ms")
    assert content == good("no reply within 200ms, and no ICMP error: counts as up")


@pytest.mark.parametrize("expect", [None, "pong"])
async def test_an_unreachable_port_is_refused(expect: str | None) -> None:
    assert await probe(asks(expect), closed_port()) == Outcome(
        Cause.REFUSED, "refused: ICMP says that the port is unreachable"
    )


async def test_silence_behind_a_dead_link_of_our_own_says_nothing_of_the_server() -> None:
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    async with answering(lambda _: []) as port:
        engine = DatagramEngine(udp.starter(Search()), lambda _: "eth1 has no carrier")
        target = Target("t", asks(timeout=0.1), Endpoint(canonical("127.0.0.1"), port))
        engine.start(target, ended.set_result)

        assert await ended == Outcome(Cause.OURS, "eth1 has no carrier")


async def test_a_cancelled_probe_closes_its_socket_and_never_ends() -> None:
    outcomes: list[Outcome] = []
    async with answering(lambda _: []) as port:
        before = descriptors()
        engine = DatagramEngine(udp.starter(Search()))
        target = Target("t", asks(timeout=0.1), Endpoint(canonical("127.0.0.1"), port))
        engine.start(target, outcomes.append).cancel()
        await asyncio.sleep(0.2)

        assert descriptors() == before
    assert outcomes == []


async def test_a_source_that_is_not_this_nodes_is_our_own_trouble() -> None:
    foreign = replace(asks(), source=(canonical("192.0.2.77"),))

    assert await probe(foreign, 9) == Outcome(
        Cause.OURS, "source 192.0.2.77 cannot be used here: Cannot assign requested address"
    )


async def test_a_probe_comes_from_the_source_and_goes_where_the_check_says() -> None:
    seen: list[object] = []

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.close()

    async with serving(watch) as port:
        elsewhere = replace(
            check(CheckType.TCP),
            source=(canonical("127.0.0.9"), canonical("::1")),
            connect=canonical("127.0.0.1"),
            port=port,
        )
        assert await probe(elsewhere, 1, "192.0.2.1") == good("connected")
        await asyncio.sleep(0.05)

    assert seen == ["127.0.0.9"]


# --- DNS ---------------------------------------------------------------------------------------


def message(question: bytes, *records: tuple[str, bytes], flags: int = 0x8400) -> bytes:
    """An answer to a question; each record is a type and its data."""
    head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    answers = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", RECORDS[kind], 1, 60, len(data)) + data
        for kind, data in records
    )
    return head + question[12:] + answers


A1, A2 = b"\xc0\x00\x02\x0a", b"\xc0\x00\x02\x0b"


def resolves(dns: Dns) -> Check:
    return replace(check(CheckType.DNS), dns=dns)


WWW = Dns("www.shop.example", "A")


@pytest.mark.parametrize(
    ("asked", "records", "flags", "outcome"),
    [
        (WWW, [("A", A1)], 0x8400, good("NOERROR, 192.0.2.10")),
        (replace(WWW, expect=("192.0.2.11",)), [("A", A1), ("A", A2)], 0x8400,
         good("NOERROR, 192.0.2.10, 192.0.2.11")),
        (replace(WWW, expect=("192.0.2.12",)), [("A", A1)], 0x8400,
         answered("192.0.2.12 is not in the answer: 192.0.2.10")),
        (WWW, [], 0x8400, answered("NOERROR, but no record A of www.shop.example")),
        (WWW, [], 0x8402, answered("SERVFAIL, expected NOERROR")),
        (WWW, [], 0x8407, answered("RCODE 7, expected NOERROR")),
        (replace(WWW, rcode="NXDOMAIN"), [], 0x8403, good("NXDOMAIN, no records")),
        (WWW, [], 0x8600, answered("answer is cut off: ask by TCP, 'protocol: tcp'")),
        (Dns("shop.example", "MX", ("10 mail.shop.example",)),
         [("MX", b"\x00\x0a\x04MAIL\xc0\x0c")], 0x8400, good("NOERROR, 10 mail.shop.example")),
        (Dns("shop.example", "TXT", ("a token",)), [("TXT", b"\x02A \x05Token")], 0x8400,
         good("NOERROR, A Token")),
        (WWW, [("A", b"\x01")], 0x8400,
         answered("not a DNS answer: an address of a wrong length")),
    ],
)  # fmt: skip
async def test_the_answer_must_be_the_wanted_one(
    asked: Dns, records: list[tuple[str, bytes]], flags: int, outcome: Outcome
) -> None:
    async with answering(lambda data: [message(data, *records, flags=flags)]) as port:
        assert await probe(resolves(asked), port) == outcome


async def test_answers_to_other_questions_are_passed_over() -> None:
    def forged(data: bytes) -> list[bytes]:
        other = dns_message.question(int.from_bytes(data[:2]), "evil.example", "A")
        return [
            b"\x00\x00" + message(data)[2:],
            message(other, ("A", A2)),
            message(data, ("A", A1)),
        ]

    async with answering(forged) as port:
        assert await probe(resolves(WWW), port) == good("NOERROR, 192.0.2.10")


async def test_a_flood_of_other_answers_is_not_listened_to_for_ever() -> None:
    async with answering(lambda data: [data] * 2 * READS) as port:
        outcome = await probe(resolves(WWW), port)

    assert outcome == answered(f"answers with {READS} datagrams that are no answer")


async def test_a_question_goes_by_tcp_where_the_check_says_so() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        answer = message(await reader.readexactly(size), ("A", A1))
        for byte in len(answer).to_bytes(2) + answer:
            writer.write(bytes((byte,)))
            await writer.drain()

    async with serving(serve) as port:
        asked = resolves(replace(WWW, transport=Transport.TCP))
        assert await probe(asked, port) == good("NOERROR, 192.0.2.10")


@given(st.binary(max_size=80), st.sampled_from(sorted(RECORDS)))
def test_no_bytes_make_the_parser_of_dns_fail_in_another_way(noise: bytes, record: str) -> None:
    question = dns_message.question(7, "a.example", record)
    for raw in (noise, message(question, (record, noise)), question[:12] + noise):
        try:
            answer = dns_message.answer(raw, 7, "a.example", record)
        except ValueError:
            continue
        assert answer is None or all(isinstance(text, str) for text in answer.records)


def test_a_name_that_points_at_itself_is_no_name() -> None:
    question = dns_message.question(7, "a.example", "NS")
    loop = message(question, ("NS", b"\xc0" + bytes((len(question) + 12,))))

    with pytest.raises(ValueError, match="points at itself"):
        dns_message.answer(loop, 7, "a.example", "NS")
