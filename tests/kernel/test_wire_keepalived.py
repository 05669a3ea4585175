"""Each way of speaking VRRP beside a real keepalived, in both roles.

One story for each: a lower keepalived follows us, succeeds us when we leave, is followed by us when
we come back with a lower priority, and is replaced by us when it is killed.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hadirector.core.address import canonical
from hadirector.core.keys import Key, Password, Secrets
from hadirector.core.messages import Complaint, OrderKind, RouterStateName
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Instance,
    Signing,
    Unicast,
    VirtualAddress,
)
from tests.kernel.keepalived import DEBIAN, NEW, Dialect, Keepalived
from tests.kernel.pair import Machine, Node, eventually, instance, machines, needs_root, stays

pytestmark = [
    pytest.mark.kernel,
    needs_root,
    pytest.mark.skipif(DEBIAN is None, reason="keepalived is not installed"),
]
needs_new = pytest.mark.skipif(
    not NEW, reason="KEEPALIVED_NEW names no keepalived 2.4 or later: auth_hmac, plain checksums"
)

MASTER, BACKUP = RouterStateName.MASTER, RouterStateName.BACKUP
ONE, TWO = canonical("192.0.2.1"), canonical("192.0.2.2")
SIX = canonical("2001:db8::10")

KEYS = {1: bytes(range(32)), 2: bytes(range(64, 128))}
PASS = Authentication(AuthenticationKind.PASS, "/pass")
HMAC = Authentication(AuthenticationKind.HMAC, "/keys")
TO_EACH_OTHER = Unicast(ONE, (TWO,))

BY_UNICAST = "unicast_src_ip 192.0.2.2\n unicast_peer {\n 192.0.2.1\n }"
BY_PASSWORD = "authentication {\n auth_type PASS\n auth_pass secretwords\n }"


def signed(active: int = 1, *known: int, mode: str = "enforce") -> str:
    """keepalived's block."""
    keys = "".join(f" key {n} hex:{KEYS[n].hex()}\n" for n in known or (active,))
    return f"auth_hmac {{\n{keys} active_key {active}\n mode {mode}\n }}"


def secrets(*numbers: int) -> Secrets:
    """Ours: the first signs."""
    return Secrets(
        tuple(Key(number, KEYS[number]) for number in numbers),
        {"/pass": Password(b"secretwo")},  # the first 8 of secretwords
    )


@dataclass(frozen=True)
class Way:
    """One way of speaking: theirs, and what is to be set here for it."""

    theirs: Dialect
    ours: dict[str, object]
    vip: str = "192.0.2.10"
    checksum: str = "pseudo-header"
    secrets: Secrets = field(default_factory=Secrets)

    def instance(self, priority: int) -> Instance:
        """Our side."""
        timing = {"version": self.theirs.version, "advert_int": self.theirs.interval}
        return instance(priority, **timing, **self.ours)

    @property
    def down(self) -> float:
        """Seconds that one waits for the other at most, and some for a busy machine."""
        return 4 * self.theirs.interval + 1.5


def v6(**changes: object) -> dict[str, object]:
    return {"virtual_addresses": (VirtualAddress(SIX, 64, "eth0"),), **changes}


WAYS = {
    "v2": Way(Dialect(2, 1), {}, checksum="plain"),
    "v2 password": Way(
        Dialect(2, 1, BY_PASSWORD),
        {"authentication": PASS},
        checksum="plain",
        secrets=secrets(),
    ),
    "v3 unicast": Way(Dialect(block=BY_UNICAST), {"unicast": TO_EACH_OTHER}),
    "v3 unicast as before 1.3.7": Way(
        Dialect(block=f"{BY_UNICAST}\n old_unicast_checksum"),
        {"unicast": TO_EACH_OTHER},
        checksum="pseudo-header to the group",
    ),
    "v3 ipv6": Way(Dialect(vip=f"{SIX}/64"), v6(), SIX),
}
PLAIN_WAYS = {
    "multicast": Way(Dialect(block="v3_checksum_as_v2 true"), {}, checksum="plain"),
    "unicast": Way(
        Dialect(block=f"{BY_UNICAST}\n v3_checksum_as_v2 true"),
        {"unicast": TO_EACH_OTHER},
        checksum="plain",
    ),
}
SIGNED_WAYS = {
    "multicast": Way(Dialect(block=signed()), {"authentication": HMAC}, secrets=secrets(1)),
    "unicast": Way(
        Dialect(block=f"{BY_UNICAST}\n {signed()}"),
        {"unicast": TO_EACH_OTHER, "authentication": HMAC},
        secrets=secrets(1),
    ),
    "ipv6": Way(
        Dialect(block=signed(), vip=f"{SIX}/64"), v6(authentication=HMAC), SIX, secrets=secrets(1)
    ),
    "v2": Way(
        Dialect(2, 1, signed()), {"authentication": HMAC}, checksum="plain", secrets=secrets(1)
    ),
    "two keys, each signs with its own": Way(
        Dialect(block=signed(2, 1, 2)), {"authentication": HMAC}, secrets=secrets(1, 2)
    ),
}


@pytest.fixture
def wire() -> Iterator[tuple[Machine, Machine]]:
    with machines() as made:
        yield made


@contextlib.contextmanager
def node(machine: Machine, number: int, way: Way, priority: int) -> Iterator[Node]:
    running = Node(machine, number)
    try:
        running.configure(way.instance(priority), secrets=way.secrets)
        yield running
    finally:
        running.end()


@contextlib.contextmanager
def keepalived(
    machine: Machine, folder: Path, dialect: Dialect, priority: int, program: str | None = DEBIAN
) -> Iterator[Keepalived]:
    running = Keepalived(machine, folder, dialect, priority, program)
    try:
        yield running
    finally:
        running.end()


def errors(ours: Node) -> dict[str, int]:
    ours.read()
    fine = ("advert_rcvd", "advert_sent", "become_master", "release_master", "duels")
    counters = ours.routers["front"].counters
    zero = ("pri_zero_rcvd", "pri_zero_sent")
    return {n: count for n, count in counters.items() if count and n not in (*fine, *zero)}


def refused(ours: Node) -> tuple[Complaint, ...]:
    ours.read()
    return ours.routers["front"].refused


def story(wire: tuple[Machine, Machine], folder: Path, way: Way, program: str | None) -> None:
    here, there = wire
    with keepalived(there, folder, way.theirs, 100, program) as theirs:
        eventually(lambda: there.holds(way.vip), 8.0 + way.down)

        with node(here, 1, way, 150) as ours:
            eventually(lambda: ours.state() is MASTER and not there.holds(way.vip), way.down + 3)
            assert stays(lambda: here.holds(way.vip) and not there.holds(way.vip), way.down)
            ours.order(OrderKind.STOP)
            took = eventually(lambda: there.holds(way.vip), way.down)
            assert took < way.theirs.interval + 0.5, "priority 0 was not understood"
            assert ours.process.wait(way.down + 5) == 0

        with node(here, 2, way, 50) as ours:
            eventually(lambda: ours.state() is BACKUP and ours.master() is not None, 6.0)
            assert stays(lambda: there.holds(way.vip) and not here.holds(way.vip), way.down)
            assert errors(ours) == {}
            (speaker,) = ours.routers["front"].peers.values()
            assert (speaker.priority, speaker.checksum) == (100, way.checksum)
            theirs.kill()
            eventually(lambda: here.holds(way.vip), way.down)
            eventually(lambda: ours.state() is MASTER, 1.0)

        # Until its IPv6 address is no longer tentative it fails to send, by its own account.
        lines = [x for x in theirs.said().splitlines() if "send advert error" not in x]
        told = ("nvalid", "mismatch", "rong", "wrong", "unexpected", "missing", "too ")
        assert [line for line in lines if any(word in line for word in told)] == []


LONG = (
    "v2",
    "v2 password",
    "v3 unicast as before 1.3.7",
)  # what is left to see of them, others show as well


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=name, marks=[pytest.mark.long] if name in LONG else [])
        for name, way in WAYS.items()
    ],
)
def test_we_and_keepalived_understand_each_other(
    wire: tuple[Machine, Machine], tmp_path: Path, way: Way
) -> None:
    story(wire, tmp_path, way, DEBIAN)


@needs_new
@pytest.mark.parametrize("way", PLAIN_WAYS.values(), ids=PLAIN_WAYS)
def test_we_and_keepalived_understand_each_other_without_pseudo_header(
    wire: tuple[Machine, Machine], tmp_path: Path, way: Way
) -> None:
    story(wire, tmp_path, way, NEW)


@needs_new
@pytest.mark.parametrize("way", SIGNED_WAYS.values(), ids=SIGNED_WAYS)
def test_we_and_keepalived_verify_each_other_s_signatures(
    wire: tuple[Machine, Machine], tmp_path: Path, way: Way
) -> None:
    story(wire, tmp_path, way, NEW)


@needs_new
@pytest.mark.parametrize(
    ("theirs", "ours", "our_word", "their_word"),
    [
        (signed(1), Secrets((Key(1, b"x" * 32),)), "wrong key", "invalid authentication HMAC"),
        (
            signed(2),
            secrets(1),
            "key 2, which is not in the key file",
            "unknown authentication key",
        ),
        ("", secrets(1), "it does not sign them", "too long"),
    ],
)
def test_both_sides_say_what_is_wrong_with_the_other_s_key(
    wire: tuple[Machine, Machine], tmp_path: Path, theirs: str, ours: Secrets, our_word: str,
    their_word: str,
) -> None:  # fmt: skip
    here, there = wire
    way = Way(Dialect(block=theirs), {"authentication": HMAC}, secrets=ours)
    with (
        keepalived(there, tmp_path, way.theirs, 100, NEW) as other,
        node(here, 1, way, 150) as us,
    ):
        eventually(lambda: here.holds() and there.holds(), 10.0)  # neither believes the other
        eventually(lambda: their_word in other.said(), 3.0)
        # Not many more: a packet it refuses makes keepalived put its own next advert off.
        eventually(lambda: any(one.count > 1 for one in refused(us)), 3.0)

        told = [event for event in us.events if event.kind == "advert_refused"]
        assert [our_word in event.reason for event in told] == [True]
        assert [our_word in one.reason for one in refused(us)] == [True]


@needs_new
def test_signing_is_introduced_beside_keepalived_without_a_change_of_master(
    wire: tuple[Machine, Machine], tmp_path: Path
) -> None:
    here, there = wire
    theirs = Dialect(block=signed(mode="permissive"))
    with (
        keepalived(there, tmp_path, theirs, 100, NEW),
        node(here, 1, Way(Dialect(), {}), 150) as us,
    ):
        eventually(lambda: us.state() is MASTER and not there.holds(), 10.0)

        for mode in Signing.RECEIVE_ONLY, Signing.PERMISSIVE, Signing.ENFORCE:
            authentication = Authentication(AuthenticationKind.HMAC, "/keys", mode)
            us.configure(instance(150, authentication=authentication), secrets=secrets(1))
            assert stays(lambda: here.holds() and not there.holds(), 1.0)
