"""What doctor asks of servers and neighbours, what the answers tell, and what it could not ask."""

from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.address import Address
from hadirector.core.doctor import wishes
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.examine import CHECKS, examine
from hadirector.core.doctor.facts import Answer, Facts, Group, Manner
from hadirector.core.settings.cluster import Config
from tests.config.files import config_of
from tests.core.clinic import (
    ASKED,
    DR,
    FAR,
    HEALTHY,
    NAT,
    PEER,
    PLAIN_DR,
    PLAIN_NAT,
    PLAIN_TUN,
    STANDBY,
    TEXT,
    TUN,
    VIP,
    VIRTUAL_DR,
    VIRTUAL_TUN,
    found,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(tmp_path, TEXT)


def test_the_standby_is_not_asked_for_the_way_back_of_servers(config: Config) -> None:
    facts = replace(STANDBY, asked=tuple(a for a in ASKED if a.question != FAR))

    report = examine(config, facts)

    assert report.findings == ()
    assert [each.reason for each in report.not_checked] == [
        "this node is not master: their way back leads to the one that is"
    ]


INSIDE = """\
    inside:
      interface: eth1
      virtual_router_id: 52
      virtual_addresses: [10.0.1.254/24]
      vmac: true
"""


def answered_by(config: Config, interface: str) -> list[tuple[str, str]]:
    """What is found when the answer to clients comes in there."""
    asked = tuple(
        replace(one, interface=interface) if one.question.manner is Manner.FAR else one
        for one in HEALTHY.asked
    )
    return found(config, replace(HEALTHY, asked=asked))


def test_beside_a_virtual_mac_a_servers_gateway_shows_whether_it_is_virtual(
    tmp_path: Path,
) -> None:
    text = TEXT.replace(", {address: 10.0.1.254/24, interface: eth1}", "")
    config = config_of(tmp_path, text.replace("connection_sync", INSIDE + "connection_sync"))
    server = f"web/{NAT}:8080"

    assert answered_by(config, "vrrp.52") == []
    assert answered_by(config, "eth1") == [("gateway-not-virtual", server)]
    assert answered_by(config, "eth0") == [("return-route", server)]


def test_a_virtual_mac_that_no_servers_gateway_has_changes_nothing(tmp_path: Path) -> None:
    outside = INSIDE.replace("10.0.1.254/24", "10.7.0.254/24")
    config = config_of(tmp_path, TEXT.replace("connection_sync", outside + "connection_sync"))

    assert ("gateway-not-virtual", f"web/{NAT}:8080") not in answered_by(config, "eth1")
    assert ("return-route", f"web/{NAT}:8080") in answered_by(config, "vrrp.52")


def test_what_could_not_be_found_out_is_told_and_not_taken_for_healthy(config: Config) -> None:
    unknown = dict.fromkeys(Group, "not permitted")

    report = examine(config, Facts(unknown=unknown))

    assert report.findings == ()
    assert report.checked == ()
    # What this configuration does not have: signed adverts, and sealed records.
    absent = {"clocks agree, for signed adverts", "sealed records are guarded on this host"}
    titles = [check.title for check in CHECKS if check.title not in absent]
    assert [each.check for each in report.not_checked] == titles


def test_servers_are_asked_as_their_forwarding_method_has_it(config: Config) -> None:
    questions = wishes.questions(Case(config, HEALTHY))

    assert set(questions) == {PLAIN_NAT, FAR, PLAIN_DR, VIRTUAL_DR, PLAIN_TUN, VIRTUAL_TUN}


def test_virtual_addresses_servers_and_peers_are_asked_for_on_their_segment(config: Config) -> None:
    assert wishes.arp(Case(config, STANDBY)) == (
        ("eth0", VIP),
        ("eth1", Address("10.0.1.254")),
        ("eth0", DR),
        ("eth0", TUN),
        ("eth1", PEER),
        ("eth0", Address("192.0.2.2")),
    )


def not_checked(config: Config, facts: Facts) -> list[str]:
    """The reasons."""
    return [each.reason for each in examine(config, facts).not_checked]


def test_servers_that_were_too_many_to_ask_are_told(config: Config) -> None:
    assert not_checked(config, replace(HEALTHY, left_out=94)) == [
        "94 of 100 questions were left out: the same holds for most, as a rule"
    ]


def test_a_server_that_could_not_be_asked_for_the_virtual_address_is_told(config: Config) -> None:
    facts = replace(HEALTHY, asked=tuple(a for a in ASKED if a.question != VIRTUAL_DR))

    assert not_checked(config, facts) == [
        f"{DR}:81: no MAC address of it is known, or no way there"
    ]


def test_a_server_that_says_nothing_at_all_is_left_to_its_checks(config: Config) -> None:
    silent = tuple(replace(a, answer=Answer.NOTHING) for a in ASKED)

    assert found(config, replace(HEALTHY, asked=silent)) == []
    assert len(not_checked(config, replace(HEALTHY, asked=silent))) == 3
