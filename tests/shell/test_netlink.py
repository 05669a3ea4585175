"""Netlink bytes, with pyroute2 as the oracle, and conversations with this machine's kernel."""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import nlmsg

from hadirector.shell import netlink
from hadirector.shell.netlink import Conversation, KernelError, Refusal, Reply, Request

GENERIC, CONTROL = 16, 16
NOWHERE = 0x3FF  # no generic netlink family has this number
LINK_HEADER = bytes(16)


def family_request(name: str) -> Request:
    """CTRL_CMD_GETFAMILY: anyone may ask it, of any kernel."""
    return Request(CONTROL, struct.pack("=BBH", 3, 1, 0) + netlink.text_attribute(2, name))


class named(nlmsg):  # type: ignore[misc]  # pyroute2 has no types; it names classes in lower case
    """One attribute of each size, as pyroute2 reads them."""

    fields = (("family", "B"), ("command", "B"), ("flags", "H"))
    nla_map = (("A_NONE", "none"), ("A_NAME", "asciiz"), ("A_NUMBER", "uint32"))


def test_a_message_reads_the_same_to_pyroute2() -> None:
    body = struct.pack("=BBH", 2, 9, 7)
    body += netlink.text_attribute(1, "eth0") + netlink.attribute(2, struct.pack("=I", 51))

    decoded = named(netlink.message(20, netlink.ACK, body, sequence=5))
    decoded.decode()

    assert decoded["header"]["length"] == 16 + 4 + 12 + 8
    assert decoded["header"]["type"] == 20
    assert decoded["header"]["flags"] == netlink.REQUEST | netlink.ACK
    assert decoded["header"]["sequence_number"] == 5
    assert (decoded["family"], decoded["command"], decoded["flags"]) == (2, 9, 7)
    assert [(each[0], each[1]) for each in decoded["attrs"]] == [
        ("A_NAME", "eth0"),
        ("A_NUMBER", 51),
    ]


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_are_read_as_they_were_packed(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(netlink.attribute(kind, value) for kind, value in pairs)

    assert [(kind, bytes(value)) for kind, value in netlink.attributes(packed)] == pairs


def test_a_nest_is_marked_as_one_and_read_without_the_mark() -> None:
    packed = netlink.nested(3, netlink.attribute(1, b"x"), netlink.attribute(2, b"yz"))

    ((kind, inner),) = netlink.attributes(packed)

    assert struct.unpack_from("=HH", packed) == (20, 0x8003)
    assert kind == 3
    assert [(kind, bytes(value)) for kind, value in netlink.attributes(inner)] == [
        (1, b"x"),
        (2, b"yz"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("=HH", 3, 1),  # shorter than its own header
        struct.pack("=HH", 12, 1) + b"abcd",  # longer than what is there
        netlink.attribute(1, b"abcd") + b"\0\0",  # stray bytes
    ],
)
def test_an_attribute_whose_length_lies_is_refused(data: bytes) -> None:
    with pytest.raises(KernelError) as caught:
        list(netlink.attributes(data))
    assert caught.value.errno == errno.EPROTO


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_never_worse(data: bytes) -> None:
    def refusals() -> list[tuple[int, str]]:
        return [netlink.refusal(each) for each in netlink.messages(data)]

    def attributes() -> list[tuple[int, memoryview]]:
        return list(netlink.attributes(data))

    for read in (refusals, attributes):
        assert outcome(read) in (None, errno.EPROTO)


def outcome(read: Callable[[], object]) -> int | None:
    """None, or the number of the KernelError; any other exception passes."""
    try:
        read()
    except KernelError as error:
        return error.errno
    return None


def test_an_error_is_told_in_the_kernels_own_words() -> None:
    words = netlink.text_attribute(1, "Device does not exist")
    capped = Reply(
        netlink.ERROR,
        0x100 | 0x200,
        1,
        0,
        memoryview(struct.pack("=iIHHII", -19, *[16] * 5) + words),
    )
    echoed = struct.pack("=iIHHII", -19, 24, 16, 0, 0, 0) + bytes(8) + words

    assert netlink.refusal(capped) == (errno.ENODEV, "Device does not exist")
    assert netlink.refusal(capped._replace(flags=0x200, body=memoryview(echoed))) == (
        errno.ENODEV,
        "Device does not exist",
    )
    assert netlink.refusal(capped._replace(flags=0)) == (errno.ENODEV, "")
    assert netlink.refusal(capped._replace(body=memoryview(bytes(20)))) == (0, "")


async def test_a_refused_request_is_named_by_its_place_and_the_others_are_carried_out() -> None:
    good, bad = family_request("nlctrl"), Request(NOWHERE, bytes(4))

    with Conversation(GENERIC) as conversation:
        refusals = await conversation.execute([good, bad, good, bad, good], "asking")
        all_bad = await conversation.execute(
            [bad] * 4000,  # three chunks
            "asking",
        )

    missing = os.strerror(errno.ENOENT)
    assert refusals == (Refusal(1, errno.ENOENT, missing), Refusal(3, errno.ENOENT, missing))
    assert [each.place for each in all_bad] == list(range(4000))


async def test_nothing_to_execute_is_not_sent() -> None:
    with Conversation(GENERIC) as conversation:
        assert await conversation.execute([], "nothing") == ()


async def test_a_dump_gives_every_answer() -> None:
    with Conversation(socket.NETLINK_ROUTE) as conversation:
        links = await conversation.dump(Request(18, LINK_HEADER), "listing links")

    indexes = {struct.unpack_from("=BBHi", body)[3] for body in links}
    assert indexes == {index for index, _ in socket.if_nameindex()}


async def test_a_refused_question_raises_with_what_was_asked() -> None:
    with Conversation(GENERIC) as conversation:
        with pytest.raises(KernelError) as caught:
            await conversation.get(family_request("no-such-family"), "looking for it")
        answer = await conversation.get(family_request("nlctrl"), "looking for it")

    assert caught.value.errno == errno.ENOENT
    assert str(caught.value) == "looking for it: No such file or directory"
    assert bytes(dict(netlink.attributes(answer[4:]))[2]) == b"nlctrl\0"


async def test_questions_asked_at_once_get_their_own_answers() -> None:
    with Conversation(GENERIC) as conversation:
        gotten, refused, families = await asyncio.gather(
            asyncio.gather(
                *[conversation.get(family_request("nlctrl"), "asking") for _ in range(20)]
            ),
            conversation.execute([Request(NOWHERE, bytes(4))], "asking"),
            conversation.dump(Request(CONTROL, struct.pack("=BBH", 3, 1, 0)), "listing"),
        )

    assert {bytes(dict(netlink.attributes(each[4:]))[2]) for each in gotten} == {b"nlctrl\0"}
    assert [each.place for each in refused] == [0]
    assert bytes(gotten[0]) in {bytes(each) for each in families}


async def test_silence_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with Conversation(GENERIC, patience=0.01) as conversation:
        with monkeypatch.context() as patch:
            patch.setattr(Conversation, "_send", lambda *_: None)
            with pytest.raises(KernelError) as caught:
                await conversation.execute([family_request("nlctrl")], "asking")
        later = await conversation.execute([family_request("nlctrl")], "asking")

    assert caught.value.errno == errno.ETIMEDOUT
    assert later == ()


async def test_an_answer_that_comes_after_its_question_was_given_up_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def give_up(*_: object) -> list[Reply]:
        raise KernelError("asking", errno.ETIMEDOUT)

    with Conversation(GENERIC) as conversation:
        with monkeypatch.context() as patch:
            patch.setattr(Conversation, "_receive", give_up)
            with pytest.raises(KernelError):
                await conversation.execute([Request(NOWHERE, bytes(4))], "asking")

        assert await conversation.execute([family_request("nlctrl")], "asking") == ()


async def test_what_another_process_sends_is_not_the_kernels_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user_sockets = 2  # NETLINK_USERSOCK: the one protocol where anyone may write to anyone
    monkeypatch.setattr(Conversation, "_send", lambda *_: None)
    with (
        Conversation(user_sockets, patience=0.05) as conversation,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, user_sockets) as liar,
    ):
        port = conversation.port
        forged = netlink.message(netlink.ERROR, 0, struct.pack("=i16x", 0), sequence=1)
        liar.sendto(forged, (port, 0))

        with pytest.raises(KernelError) as caught:
            await conversation.execute([Request(NOWHERE, bytes(4))], "asking")

    assert caught.value.errno == errno.ETIMEDOUT
