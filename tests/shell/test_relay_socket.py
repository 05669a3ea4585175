"""shell/relay_socket: two sockets in namespaces of their own, on one wire."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from hadirector.core.address import Address
from hadirector.core.settings.cluster import ConnectionSync, ResyncPolicy, SyncTransport
from hadirector.shell import relay_socket
from hadirector.shell.relay_socket import RelaySocket
from tests.kernel.pair import Machine, eventually, machines, needs_root

pytestmark = needs_root

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
GROUPS = {4: Address("239.1.2.3"), 6: Address("ff02::81")}
ADDRESSES = {
    4: {"lb1": Address("192.0.2.1"), "lb2": Address("192.0.2.2")},
    6: {"lb1": Address("2001:db8::1"), "lb2": Address("2001:db8::2")},
}


@contextmanager
def within(machine: Machine) -> Iterator[None]:
    """What is opened meanwhile belongs to that machine."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{machine.pid}/ns/net", os.O_RDONLY)
    try:
        assert _libc.setns(there, _CLONE_NEWNET) == 0
        yield
    finally:
        assert _libc.setns(home, _CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


@pytest.fixture(scope="module")
def wired() -> Iterator[tuple[Machine, Machine]]:
    with machines() as both:
        for number, machine in enumerate(both, 1):
            address = ("address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
            machine.run("ip", *address)
            machine.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "far")
            machine.run("ip", "link", "set", "eth1", "up")
            machine.run("ip", "link", "set", "far", "up")
        # A link-local address that duplicates are still looked for sends nothing.
        for machine in both:
            ready = ("ip", "-6", "address", "show", "dev", "eth0", "tentative")
            eventually(lambda m=machine, r=ready: not m.run(*r), 10.0)  # type: ignore[misc]  # bound now
        yield both


def settings(family: int, unicast: bool, interface: str = "eth0") -> ConnectionSync:
    """Of a pair."""
    return ConnectionSync(
        interface=interface,
        sync_id=51,
        group=GROUPS[family],
        port=8848,
        transport=SyncTransport.AUTHENTICATED,
        resync=ResyncPolicy.NEVER,
        unicast=ADDRESSES[family] if unicast else {},
    )


@pytest.mark.parametrize("unicast", [True, False])
@pytest.mark.parametrize("family", [4, 6])
async def test_what_one_says_the_other_hears_with_its_address(
    wired: tuple[Machine, Machine], family: int, unicast: bool
) -> None:
    heard: dict[str, list[tuple[bytes, Address]]] = {"lb1": [], "lb2": []}
    sync, sockets, came = settings(family, unicast), {}, asyncio.Event()

    def hear(name: str, raw: bytes, source: Address) -> None:
        heard[name].append((raw, source))
        came.set()

    for name, machine in zip(heard, wired, strict=True):
        with within(machine):
            where = relay_socket.place(sync, name)
            sockets[name] = RelaySocket(where, partial(hear, name))
    try:
        sockets["lb1"].send(b"hello", sync.unicast.get("lb2"))
        async with asyncio.timeout(5.0):
            await came.wait()
        await asyncio.sleep(0.05)
    finally:
        for sock in sockets.values():
            sock.close()

    raw, source = heard["lb2"][0]
    assert raw == b"hello"
    expected = ADDRESSES[family]["lb1"]
    assert source == expected or (family == 6 and not unicast and source.startswith("fe80::"))
    assert heard["lb1"] == []  # nobody hears himself
    assert sockets["lb1"].unsent == 0


async def test_what_comes_by_another_interface_is_not_heard(
    wired: tuple[Machine, Machine],
) -> None:
    one, two = wired
    heard: list[bytes] = []
    with within(two):
        elsewhere = relay_socket.place(settings(4, False, "eth1"), "lb2")
        listening = RelaySocket(elsewhere, lambda raw, _: heard.append(raw))
    with within(one):
        speaking = RelaySocket(relay_socket.place(settings(4, False), "lb1"), lambda *_: None)
    try:
        speaking.send(b"hello", None)
        await asyncio.sleep(0.2)
    finally:
        listening.close()
        speaking.close()

    assert heard == []


async def test_why_it_cannot_listen_is_a_sentence(wired: tuple[Machine, Machine]) -> None:
    sync = settings(4, True)
    with within(wired[0]):
        for wrong, sentence in (
            (settings(4, True, "eth9"), "no interface eth9: connection sync waits for it"),
            (
                ConnectionSync(
                    interface="eth0",
                    sync_id=51,
                    group=GROUPS[4],
                    port=8848,
                    transport=SyncTransport.AUTHENTICATED,
                    resync=ResyncPolicy.NEVER,
                    unicast={"lb1": Address("192.0.2.77"), "lb2": Address("192.0.2.2")},
                ),
                "192.0.2.77 is not on this host: connection sync waits for it",
            ),
        ):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - told below
                RelaySocket(relay_socket.place(wrong, "lb1"), lambda *_: None)
            assert relay_socket.why(caught.value, wrong, "lb1") == sentence
        first = RelaySocket(relay_socket.place(sync, "lb1"), lambda *_: None)
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - told below
                RelaySocket(relay_socket.place(sync, "lb1"), lambda *_: None)
        finally:
            first.close()

    told = relay_socket.why(caught.value, sync, "lb1")
    assert told == "connection sync cannot listen on eth0 port 8848: Address already in use"
