"""What the wire needs before a router may speak: its source address, its secrets, the time."""

from dataclasses import replace

import pytest

from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.election import Election
from hadirector.core.election_types import Links, SendAdvert, Tick, WallClock
from hadirector.core.keys import Key, Password, Secrets
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Instance,
    Unicast,
    VirtualAddress,
)
from tests.core.electorate import FRONT, T0, Electorate, links, pair, settings, with_priority, words

ONE, TWO = Address("198.51.100.1"), Address("198.51.100.2")
UNICAST = replace(FRONT, unicast=Unicast(ONE, (TWO,)))
SIGNED = replace(FRONT, authentication=Authentication(AuthenticationKind.HMAC, "/keys"))
BY_PASSWORD = replace(
    FRONT, version=2, authentication=Authentication(AuthenticationKind.PASS, "/pass")
)
KEYS = Secrets((Key(1, b"k" * 32),))
WORD = Secrets((), {"/pass": Password(b"secret")})
CLOCK = WallClock(1_787_000_000.0 - T0)


def told(instance: Instance, secrets: Secrets) -> messages.ElectionSettings:
    return replace(settings(instance), secrets=secrets)


def started(instance: Instance, secrets: Secrets = KEYS, clock: bool = True) -> Election:
    election = Election()
    if clock:
        election.handle(CLOCK, T0)
    election.handle(told(instance, secrets), T0)
    election.handle(links(1), T0)
    return election


def state(election: Election) -> tuple[RouterStateName, str]:
    (router,) = election.routers()
    return router.state, router.reason


# --- unicast ---------------------------------------------------------------------------------


def test_a_unicast_source_is_announced_before_the_first_advert() -> None:
    owner = replace(UNICAST, priority=255)
    election = Election()
    election.handle(settings(owner), T0)

    assert words(election.handle(links(1), T0))[:2] == [
        "announce 198.51.100.1 x1",
        "front advert 255",
    ]


def test_it_is_announced_again_when_the_link_comes_up_and_not_in_between() -> None:
    election = started(UNICAST)

    down = words(election.handle(links(1, eth0=False), T0 + 1))
    up = words(election.handle(links(1), T0 + 2))
    same = words(election.handle(replace(links(1), links=links(1).links[:1]), T0 + 3))

    assert down == ["front fault"]
    assert up[0] == "announce 198.51.100.1 x1"
    assert same == []


def test_multicast_announces_nothing_of_its_own() -> None:
    election = Election()
    election.handle(settings(FRONT), T0)

    assert words(election.handle(links(1), T0)) == ["front backup"]


def test_a_unicast_source_that_is_not_on_the_interface_is_a_fault_until_it_is() -> None:
    election = Election()
    election.handle(settings(UNICAST), T0)
    (eth0, eth1) = links(1).links

    election.handle(Links((replace(eth0, addresses=(Address("198.51.100.7"),)), eth1)), T0)
    without = state(election)
    election.handle(links(1), T0 + 1)

    assert without == (
        RouterStateName.FAULT,
        "eth0 does not have 198.51.100.1, where unicast adverts are to come from",
    )
    assert state(election)[0] is RouterStateName.BACKUP


def test_two_unicast_nodes_elect_one_master() -> None:
    electorate = Electorate()
    electorate.join("lb1", settings(UNICAST))
    other = replace(UNICAST, unicast=Unicast(TWO, (ONE,)))
    electorate.join("lb2", settings(*with_priority(100, other)))
    electorate.run(8.0)

    assert electorate.holders() == ["lb1"]
    assert electorate.nodes["lb2"].routers()[0].master == ONE


# --- secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "secrets", "reason"),
    [
        (SIGNED, Secrets(troubles={"/keys": "/keys: Permission denied"}), "no key for its adverts: "
         "/keys: Permission denied; mend that, then 'hadirector reload'"),
        (BY_PASSWORD, Secrets(troubles={"/pass": "/pass: No such file or directory"}), "no "
         "password for its adverts: /pass: No such file or directory; mend that, then "
         "'hadirector reload'"),
        (SIGNED, Secrets(), "no key for its adverts: /keys: not read yet; mend that, then "
         "'hadirector reload'"),
    ],
)  # fmt: skip
def test_without_its_secret_a_router_is_in_fault_and_never_speaks_without(
    instance: Instance, secrets: Secrets, reason: str
) -> None:
    election = started(instance, secrets)

    actions = [a for at in range(1, 60) for a in election.handle(Tick(), T0 + at)]

    assert state(election) == (RouterStateName.FAULT, reason)
    assert not any(isinstance(action, SendAdvert) for action in actions)


def test_the_others_of_the_node_do_not_suffer() -> None:
    election = Election()
    election.handle(CLOCK, T0)
    other = replace(
        FRONT,
        name="other",
        virtual_router_id=52,
        virtual_addresses=(VirtualAddress(Address("192.0.2.11"), 24, "eth0"),),
    )
    election.handle(settings(SIGNED, other), T0)
    election.handle(links(1), T0)

    assert {r.instance: r.state for r in election.routers()} == {
        "front": RouterStateName.FAULT,
        "other": RouterStateName.BACKUP,
    }


def test_a_key_that_comes_ends_the_fault() -> None:
    election = started(SIGNED, Secrets())

    election.handle(told(SIGNED, KEYS), T0 + 1)

    assert state(election)[0] is RouterStateName.BACKUP


def test_a_running_master_keeps_the_secret_whose_file_cannot_be_read_any_more() -> None:
    """A restarted director tells of the trouble; the master it finds must not fall for it."""
    for instance, secrets, path in ((SIGNED, KEYS, "/keys"), (BY_PASSWORD, WORD, "/pass")):
        election = started(instance, secrets)
        election.handle(Tick(), T0 + 4)
        assert state(election)[0] is RouterStateName.MASTER

        actions = election.handle(told(instance, Secrets(troubles={path: f"{path}: gone"})), T0 + 5)

        assert words(actions) == []
        assert state(election)[0] is RouterStateName.MASTER
        sent = [a for a in election.handle(Tick(), T0 + 6) if isinstance(a, SendAdvert)]
        assert len(sent) == 1


def test_new_keys_disturb_nobody_and_sign_at_once() -> None:
    election = started(SIGNED)
    election.handle(Tick(), T0 + 4)
    new = Secrets((Key(2, b"n" * 32), *KEYS.keys))

    assert words(election.handle(told(SIGNED, new), T0 + 4.5)) == []

    (sent,) = [a for a in election.handle(Tick(), T0 + 6) if isinstance(a, SendAdvert)]
    assert sent.message[-27] == 2  # the key's number


def test_adverts_are_not_signed_with_an_unknown_time() -> None:
    election = started(SIGNED, clock=False)

    assert state(election) == (
        RouterStateName.FAULT,
        "the time of day, which its adverts are signed with, is not known yet",
    )
    election.handle(CLOCK, T0 + 1)
    assert state(election)[0] is RouterStateName.BACKUP


def test_two_nodes_with_a_key_elect_one_master_and_one_with_another_is_not_heard() -> None:
    electorate = Electorate()
    for name, priority, key in (("lb1", 150, KEYS), ("lb2", 100, KEYS)):
        electorate.join(name, told(replace(SIGNED, priority=priority), key))
        electorate.tell(name, CLOCK)
    electorate.run(6.0)
    assert electorate.holders() == ["lb1"]

    electorate.join("lb3", told(replace(SIGNED, priority=200), Secrets((Key(1, b"x" * 32),))))
    electorate.tell("lb3", CLOCK)
    electorate.run(6.0)

    assert electorate.holders() == ["lb1", "lb3"]
    refused = electorate.nodes["lb1"].routers()[0].refused
    assert [(c.source, c.kind) for c in refused] == [("198.51.100.3", "auth_ext_invalid_hmac")]
    assert [w for _, name, w in electorate.story if "refused" in w and name == "lb1"] == [
        "front advert_refused"
    ]


def test_who_was_refused_a_while_ago_is_not_shown_any_more() -> None:
    electorate = pair()
    electorate.join("lb3", settings(*with_priority(200, replace(FRONT, version=2))))
    electorate.run(5.0)
    assert len(electorate.nodes["lb1"].routers()[0].refused) == 1

    electorate.cut = {"lb3"}
    electorate.run(20.0)

    assert electorate.nodes["lb1"].routers()[0].refused == ()


def test_ipv6_of_a_version_2_instance_speaks_version_3_without_the_password() -> None:
    both = (*FRONT.virtual_addresses, VirtualAddress(Address("2001:db8::10"), 64, "eth0"))
    election = Election()
    election.handle(told(replace(BY_PASSWORD, virtual_addresses=both), WORD), T0)
    election.handle(links(1), T0)
    actions = election.handle(Tick(), T0 + 4)

    sent = [a for a in actions if isinstance(a, SendAdvert)]
    assert [(a.family, a.message[0], b"secret" in a.message) for a in sent] == [
        (4, 0x21, True),
        (6, 0x31, False),
    ]
    assert sent[1].source == "fe80::1"
