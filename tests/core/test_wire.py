"""core/wire: what a router sends, whom it believes, and what it says about the others."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hadirector.core import advert, signature
from hadirector.core.address import Address
from hadirector.core.advert import Advert
from hadirector.core.election_types import PacketReceived
from hadirector.core.keys import Key, Password, Secrets
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Instance,
    Signing,
    Unicast,
)
from hadirector.core.wire import SPEAKERS, Context, Judged, Wire
from tests.core.routers import FRONT, T0, VIP

OURS, PEER, OTHER = Address("198.51.100.2"), Address("198.51.100.1"), Address("198.51.100.9")
GROUP = advert.GROUPS[4]
UNICAST = replace(FRONT, unicast=Unicast(OURS, (PEER, OTHER)))
KEYS = (Key(2, b"two" * 12), Key(1, b"one" * 12))
PASS = Authentication(AuthenticationKind.PASS, "/pass")
UNIX = 1_787_000_000.0


def signed(mode: Signing = Signing.ENFORCE) -> Instance:
    return replace(FRONT, authentication=Authentication(AuthenticationKind.HMAC, "/keys", mode))


def context(
    instance: Instance = FRONT,
    keys: tuple[Key, ...] = KEYS,
    unix: float = UNIX,
    password: str = "p",
) -> Context:
    secrets = Secrets(keys, {"/pass": Password(password.encode())})
    return Context(instance, (VIP.address,), secrets, unix)


def packet(message: bytes, source: Address = PEER, to: Address = GROUP) -> PacketReceived:
    return PacketReceived("eth0", source, to, 255, message)


def written(
    instance: Instance, checksum: Checksum = Checksum.AUTO, source: Address = PEER
) -> bytes:
    """An unsigned advert of another router."""
    said = Advert(instance.version, 51, 150, instance.advert_int, (VIP.address,))
    return advert.encode(said, source, GROUP, checksum)


def sent(instance: Instance, keys: tuple[Key, ...] = KEYS, unix: float = UNIX) -> bytes:
    """What the same instance sends on another node."""
    ((_, message),) = Wire(4).write(150, PEER, context(instance, keys, unix))
    return message


def reasons(judged: Judged) -> list[str]:
    return [reason for _, reason in judged.told]


# --- checksums -------------------------------------------------------------------------------


def test_multicast_is_for_everybody_and_is_summed_as_configured() -> None:
    wire = Wire(4)
    for source, checksum in ((PEER, Checksum.PLAIN), (OTHER, Checksum.AUTO)):
        wire.judge(packet(written(FRONT, checksum, source), source), context(), T0)

    ((to, message),) = wire.write(100, OURS, context())

    assert {a: s.checksum for a, s in wire.speakers().items()} == {
        PEER: "plain",
        OTHER: "pseudo-header",
    }
    said = wire.said(100, context())
    assert (to, message) == (GROUP, advert.encode(said, OURS, GROUP, Checksum.PSEUDO_HEADER))


def test_each_unicast_peer_gets_adverts_summed_as_its_own_are() -> None:
    said = Advert(3, 51, 150, 1.0, (VIP.address,))
    ours = Wire(4).said(100, context(UNICAST))
    plain = advert.encode(said, PEER, OURS, Checksum.PLAIN)
    old = advert.encode(said, OTHER, GROUP, Checksum.PSEUDO_HEADER)
    wire = Wire(4)
    before = wire.write(100, OURS, context(UNICAST))

    for source, message in ((PEER, plain), (OTHER, old)):
        judged = wire.judge(packet(message, source, OURS), context(UNICAST), T0)
        assert judged.advert == said

    assert [(to, m) for to, m in before] == [
        (to, advert.encode(ours, OURS, to, Checksum.PSEUDO_HEADER)) for to in (PEER, OTHER)
    ]
    assert wire.write(100, OURS, context(UNICAST)) == [
        (PEER, advert.encode(ours, OURS, PEER, Checksum.PLAIN)),
        (OTHER, advert.encode(ours, OURS, GROUP, Checksum.PSEUDO_HEADER)),
    ]
    assert wire.speakers()[OTHER].checksum == "pseudo-header to the group"


def test_a_checksum_that_is_set_is_sent_to_and_wanted_from_every_peer() -> None:
    instance = replace(UNICAST, checksum=Checksum.PSEUDO_HEADER)
    wire = Wire(4)
    said = Advert(3, 51, 150, 1.0, (VIP.address,))
    plain = advert.encode(said, PEER, OURS, Checksum.PLAIN)

    judged = wire.judge(packet(plain, PEER, OURS), context(instance), T0)

    assert reasons(judged) == [
        "adverts of 198.51.100.1 are refused: its checksum is plain, and here pseudo-header is set"
    ]
    assert wire.write(100, OURS, context(instance))[0] == (
        PEER,
        advert.encode(wire.said(100, context(instance)), OURS, PEER, Checksum.PSEUDO_HEADER),
    )


# --- who may speak ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "changes", "counter", "why"),
    [
        (UNICAST, FRONT, {}, "destination_err", "it advertises by multicast, and here unicast is "
         "set"),
        (FRONT, FRONT, {"destination": OURS}, "destination_err", "it advertises by unicast, and "
         "here multicast is set"),
        (UNICAST, FRONT, {"source": Address("198.51.100.77"), "destination": OURS}, "source_err",
         "it is none of the unicast peers"),
        (FRONT, FRONT, {"ttl": 254}, "ip_ttl_err", "TTL 254, not 255: it crossed a router"),
        (FRONT, replace(FRONT, version=2), {}, "version_err", "it speaks version 2, and here "
         "version 3 is"),
        (replace(FRONT, version=2), replace(FRONT, version=2, advert_int=3.0), {},
         "advert_interval_err", "it advertises each 3 s, and here advert_int is 1 s: in version 2 "
         "they must be the same"),
        (replace(FRONT, version=2, authentication=PASS), replace(FRONT, version=2), {},
         "authtype_mismatch", "it uses no password, and here a password is set"),
    ],
)  # fmt: skip
def test_what_is_refused_is_counted_and_told_once_with_the_reason(
    ours: Instance, theirs: Instance, changes: dict[str, object], counter: str, why: str
) -> None:
    wire = Wire(4)
    heard = replace(packet(written(theirs)), **changes)  # type: ignore[arg-type]  # real fields

    judged = [wire.judge(heard, context(ours), T0 + n) for n in range(3)]

    reason = f"adverts of {heard.source} are refused: {why}"
    assert judged == [Judged(None, (("advert_refused", reason),)), Judged(None), Judged(None)]
    assert wire.counters[counter] == 3
    assert wire.counters["advert_rcvd"] == 0
    assert wire.speakers() == {}
    assert [(c.kind, c.reason, c.count) for c in wire.refused(T0)] == [(counter, reason, 3)]


def test_a_unicast_advert_may_have_crossed_a_router() -> None:
    said = Advert(3, 51, 150, 1.0, (VIP.address,))
    message = advert.encode(said, PEER, OURS, Checksum.AUTO)

    judged = Wire(4).judge(replace(packet(message, PEER, OURS), ttl=3), context(UNICAST), T0)

    assert judged == Judged(said)


def test_a_wrong_password_is_told_from_none() -> None:
    instance = replace(FRONT, version=2, authentication=PASS)
    ((_, message),) = Wire(4).write(150, PEER, context(instance, password="theirs"))
    wire = Wire(4)

    wrong = wire.judge(packet(message), context(instance, password="ours"), T0)
    right = wire.judge(packet(message), context(instance, password="theirs"), T0)

    assert reasons(wrong) == ["adverts of 198.51.100.1 are refused: wrong password"]
    assert right.advert is not None
    assert wire.counters["auth_failure"] == 1


def test_another_interval_is_followed_in_version_3_and_told_once() -> None:
    wire = Wire(4)
    slower = written(replace(FRONT, advert_int=2.0))

    first, second = (wire.judge(packet(slower), context(), T0 + n) for n in range(2))

    assert first.advert is not None
    assert first.told == (
        (
            "advert_differs",
            "198.51.100.1 advertises each 2 s, and here advert_int is 1 s: who is backup follows "
            "the master's; make them the same",
        ),
    )
    assert second.told == ()
    assert wire.counters["advert_interval_err"] == 2
    assert [c.kind for c in wire.odd(T0)] == ["interval"]


def of_others(*addresses: str) -> PacketReceived:
    """An advert with our virtual router ID for these addresses, of the highest priority."""
    said = Advert(3, 51, 254, 1.0, tuple(Address(text) for text in addresses))
    return packet(advert.encode(said, OTHER, GROUP, Checksum.AUTO), OTHER)


def test_another_router_of_the_same_number_is_told_once_and_not_obeyed() -> None:
    wire = Wire(4)
    stranger = of_others("203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4")

    first, second = (wire.judge(stranger, context(), T0 + n) for n in range(2))

    reason = (
        "adverts of 198.51.100.9 are refused: VRID 51 on eth0 is also used by it, for other "
        "addresses (203.0.113.1, 203.0.113.2, 203.0.113.3 ..., version 3, priority 254): choose "
        "another virtual_router_id, or stop it"
    )
    assert (first, second) == (Judged(None, (("advert_refused", reason),)), Judged(None))
    assert wire.counters["stranger_rcvd"] == 2
    assert wire.speakers() == {}


@pytest.mark.parametrize("addresses", [(VIP.address, "203.0.113.1"), ()])
def test_one_that_lists_some_of_ours_or_none_at_all_is_obeyed_and_told_of(
    addresses: tuple[str, ...],
) -> None:
    # keepalived lists none where all of them are excluded ones.
    wire = Wire(4)

    judged = wire.judge(of_others(*addresses), context(), T0)

    assert judged.advert is not None
    ((kind, reason),) = judged.told
    assert kind == "advert_differs"
    assert reason.endswith("give all routers of it the same, or choose another virtual_router_id")
    assert wire.counters["addr_list_err"] == 1


@pytest.mark.parametrize("known", ["peer channel", "unicast"])
def test_a_peer_of_ours_may_be_a_reload_ahead(known: str) -> None:
    ours = replace(context(), known=(OTHER,) if known == "peer channel" else ())
    other = of_others("203.0.113.1")
    if known == "unicast":
        ours = context(UNICAST)
        said = Advert(3, 51, 254, 1.0, (Address("203.0.113.1"),))
        other = packet(advert.encode(said, OTHER, OURS, Checksum.AUTO), OTHER, OURS)

    judged = Wire(4).judge(other, ours, T0)

    assert judged.advert is not None


def test_speakers_are_bounded_and_the_latest_are_kept() -> None:
    wire = Wire(4)
    every = [Address(f"198.51.100.{n}") for n in range(20, 40)]

    for at, source in enumerate(every):
        wire.judge(packet(written(FRONT, source=source), source), context(), T0 + at)

    assert list(wire.speakers()) == every[-SPEAKERS:]


# --- signatures ------------------------------------------------------------------------------


def test_the_first_key_signs_and_all_of_them_verify() -> None:
    instance = signed()
    wire = Wire(4)

    first = wire.judge(packet(sent(instance)), context(instance, KEYS[::-1]), T0)
    second = wire.judge(packet(sent(instance, KEYS[::-1], UNIX + 1)), context(instance), T0)

    assert first.advert == second.advert == wire.said(150, context(instance))
    assert wire.speakers()[PEER].key == 1


def test_keys_are_changed_in_three_steps_without_an_advert_lost() -> None:
    """Old everywhere, new behind it everywhere, new in front everywhere, new alone everywhere: at
    no moment of a rolling change do two nodes not understand each other."""
    old, new = KEYS
    instance, unix = signed(), UNIX
    steps = [(old,), (old, new), (new, old), (new,)]
    a, b = Wire(4), Wire(4)
    for before, after in pairwise(steps):
        for mine, theirs in ((before, before), (after, before), (after, after)):
            unix += 1
            for from_, to, wire in ((mine, theirs, a), (theirs, mine, b)):
                heard = packet(sent(instance, from_, unix))
                assert wire.judge(heard, context(instance, to, unix), unix).advert is not None


def test_every_unicast_peer_gets_the_same_signature() -> None:
    instance = replace(UNICAST, authentication=signed().authentication)

    messages = [m for _, m in Wire(4).write(150, OURS, context(instance))]

    assert messages[0] != messages[1]  # the checksums differ
    assert messages[0][-advert.SIGNATURE_SIZE :] == messages[1][-advert.SIGNATURE_SIZE :]


@pytest.mark.parametrize(
    ("message", "counter", "why"),
    [
        (written(FRONT), "auth_ext_missing", "it does not sign them, and here signing is set"),
        (sent(signed(), (Key(2, b"not" * 12),)), "auth_ext_invalid_hmac", "wrong key: what it "
         "calls key 2 is not our key 2, or the packet was changed on its way"),
        (sent(signed(), (Key(9, b"nine" * 9),)), "auth_ext_unknown_key", "signed with key 9, which "
         "is not in the key file here"),
        (sent(signed(), unix=UNIX - 40), "auth_ext_stale", "signed 40 s ago by this node's clock, "
         "more than the 5 s allowed: the clocks differ (set both by NTP), or an old packet is sent "
         "again"),
    ],
)  # fmt: skip
def test_each_trouble_with_a_signature_has_its_own_name(
    message: bytes, counter: str, why: str
) -> None:
    wire = Wire(4)

    first, second = (wire.judge(packet(message), context(signed()), T0 + n) for n in range(2))

    assert reasons(first) == [f"adverts of 198.51.100.1 are refused: {why}"]
    assert second == Judged(None)
    assert wire.counters[counter] == 2


def test_a_packet_sent_again_is_a_replay_also_behind_the_next_one() -> None:
    instance, wire = signed(), Wire(4)
    old, new = sent(instance), sent(instance, unix=UNIX + 1)
    for message in (old, new):
        assert wire.judge(packet(message), context(instance), T0).advert is not None

    for message in (old, new):
        assert wire.judge(packet(message), context(instance), T0).advert is None
    assert wire.counters["auth_ext_replay"] == 2
    assert [c.kind for c in wire.refused(T0)] == ["auth_ext_replay"]


def test_an_advert_of_one_node_cannot_be_sent_in_the_name_of_another() -> None:
    instance, wire = signed(), Wire(4)
    message = sent(instance)
    elsewhere = advert.encode(
        wire.said(150, context(instance)),
        OTHER,
        GROUP,
        Checksum.AUTO,
        message[-advert.SIGNATURE_SIZE :],
    )

    assert wire.judge(packet(elsewhere, OTHER), context(instance), T0).advert is None
    assert wire.counters["auth_ext_invalid_hmac"] == 1


def test_a_signed_advert_where_nothing_is_signed_says_what_to_do() -> None:
    judged = Wire(4).judge(packet(sent(signed())), context(), T0)

    assert reasons(judged) == [
        "adverts of 198.51.100.1 are refused: it is signed (auth_hmac), and here signatures are "
        "not set: authentication: hmac"
    ]


def test_a_clock_that_drifts_is_told_before_it_is_too_late() -> None:
    instance, wire = signed(), Wire(4)

    judged = [
        wire.judge(
            packet(sent(instance, unix=UNIX + n)), context(instance, unix=UNIX + n + late), T0
        )
        for n, late in enumerate((2, 3, 3, 4))
    ]

    assert all(one.advert is not None for one in judged)
    assert [reasons(one) for one in judged] == [
        [],
        [
            "198.51.100.1 has a clock that differs from ours by more than 2 s; from 5 s on its "
            "adverts are refused: set both clocks by NTP"
        ],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("mode", "signs", "takes_unsigned"),
    [
        (Signing.RECEIVE_ONLY, False, True),
        (Signing.PERMISSIVE, True, True),
        (Signing.ENFORCE, True, False),
    ],
)
def test_the_modes_let_signing_be_introduced_step_by_step(
    mode: Signing, signs: bool, takes_unsigned: bool
) -> None:
    instance, wire = signed(mode), Wire(4)

    message = sent(instance)
    unsigned = wire.judge(packet(written(FRONT)), context(instance), T0)
    right = wire.judge(packet(sent(signed())), context(instance), T0)
    wrong = wire.judge(packet(sent(signed(), (Key(2, b"x" * 32),))), context(instance), T0)

    assert (len(message) == 12 + advert.SIGNATURE_SIZE) is signs
    assert (unsigned.advert is not None) is takes_unsigned
    assert right.advert is not None
    assert wrong.advert is None


def test_version_2_is_signed_too() -> None:
    instance = replace(signed(), version=2)
    message = sent(instance)

    assert len(message) == 8 + 4 + 8 + advert.SIGNATURE_SIZE
    assert Wire(4).judge(packet(message), context(instance), T0).advert is not None


def test_ipv6_is_signed_and_its_checksum_covers_the_signature() -> None:
    source, six = Address("fe80::1"), Address("2001:db8::10")
    settings = Context(signed(), (six,), Secrets(KEYS), UNIX)
    ((to, message),) = Wire(6).write(150, source, settings)
    pseudo = (
        bytes.fromhex("fe80" + "00" * 13 + "01" + "ff02" + "00" * 13 + "12")
        + len(message).to_bytes(4, "big")
        + b"\0\0\0\x70"
    )

    judged = Wire(6).judge(PacketReceived("eth0", source, to, 255, message), settings, T0)

    assert judged.advert == Advert(3, 51, 150, 1.0, (six,))
    assert advert.internet_checksum(pseudo + message) == 0
    trailer = message[-advert.SIGNATURE_SIZE :]
    assert signature.verify(
        message[: -advert.SIGNATURE_SIZE], trailer, source, KEYS, UNIX, 5
    ) == signature.Verified(2, signature.sequence_of(UNIX), 0)


def test_nothing_shows_a_secret() -> None:
    instance = replace(FRONT, version=2, authentication=PASS)
    settings = context(instance, password="hunter2")
    said = Wire(4).said(150, settings)
    ((_, message),) = Wire(4).write(150, OURS, settings)

    shown = f"{settings!r} {said!r} {packet(message)!r} {settings.secrets!r}"
    assert b"hunter2" in message
    assert "hunter2" not in shown
    assert "oneone" not in shown
