"""The contract's status JSON, key by key."""

import json
from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import explain, ipvs, messages, status
from hadirector.core.address import Address, Endpoint
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process
from hadirector.core.settings.services import RealServer
from hadirector.core.stance import Since, Stance
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO
from tests.core.routers import FRONT

OFFSET = 1000.0


def _running() -> Director:
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 2.0)
    usage = ipvs.Usage({}, {(KEY, ONE): ipvs.DestinationUse(active=4, inactive=5)})
    director.handle(ev.KernelRead({KEY: farm.entry(3, 1)}, usage, 0.001), 2.0)
    news = farm.verdicts((ONE, Health.UP), (TWO, Health.DOWN), at=2.5)
    director.handle(ev.From(Process.CHECKER, news, float("inf")), 2.5)
    return director


def test_a_service_is_told_as_the_contract_says() -> None:
    told = json.loads(json.dumps(status.build(_running(), status.Shell(), OFFSET, {})))

    assert told["services"]["web"] == {
        "address": "192.0.2.10:80",
        "protocol": "tcp",
        "scheduler": "rr",
        "forward": "nat",
        "state": "degraded",
        "quorum": 1,
        "up": 1,
        "reason": "1 of 2 servers up, quorum 1",
        "scale": 1,
        "fallback": None,
        "servers": {
            "10.0.1.11:80": {
                "weight": 3,
                "effective_weight": 3,
                "present": True,
                "health": "up",
                "admin": "enabled",
                "kept": False,
                "views": None,
                "active": 4,
                "inactive": 5,
                "last_check": {"ok": True, "detail": "told", "ms": 1.0, "at": 1002.5},
                "reason": "configured weight; told",
            },
            "10.0.1.12:80": {
                "weight": 1,
                "effective_weight": 0,
                "present": True,
                "health": "down",
                "admin": "enabled",
                "kept": False,
                "views": None,
                "active": 0,
                "inactive": 0,
                "last_check": {"ok": False, "detail": "told", "ms": 1.0, "at": 1002.5},
                "reason": "down, quiesced: told",
            },
        },
    }


def test_routers_peers_and_processes_are_told_with_unix_instants() -> None:
    director = _running()
    router = messages.Router(
        instance="front",
        family=4,
        state=messages.RouterStateName.MASTER,
        priority=150,
        effective_priority=150,
        master=Address("198.51.100.1"),
        since=3.0,
        reason="no advert for 3.6 s",
        inputs={},
        addresses=("192.0.2.10/24",),
        counters={"advert_sent": 9},
        leased=True,
    )
    state = messages.ProcessState(Process.CHECKER, 42, 1.0, 2, 0.5, 1.5, alive=True)
    director.handle(ev.From(Process.ELECTION, messages.Routers((router,)), float("inf")), 3.0)
    director.handle(ev.From(Process.SUPERVISOR, messages.Processes((state,)), float("inf")), 3.0)

    told = json.loads(json.dumps(status.build(director, status.Shell(), OFFSET, {})))

    assert told["processes"]["checker"] == {
        "pid": 42,
        "since": 1001.0,
        "restarts": 2,
        "lag_ms_p99": 0.5,
        "lag_ms_max": 1.5,
        "alive": True,
    }
    assert told["peers"]["lb2"]["seen"] is None
    assert told["config"]["loaded_at"] == 1002.0
    assert told["sync"]["role"] is None


def _with_a_neighbour() -> Director:
    director = Director("1", frozenset(), 0.0)
    instance = replace(FRONT, virtual_addresses=())
    director.handle(ev.Configured(replace(farm.CONFIG, instances=(instance,))), 2.0)
    peer, rogue = Address("198.51.100.2"), Address("198.51.100.7")
    reason = f"adverts of {rogue} are refused: wrong key"
    router = messages.Router(
        instance="front",
        family=4,
        state=messages.RouterStateName.MASTER,
        priority=150,
        effective_priority=150,
        master=Address("198.51.100.1"),
        since=3.0,
        reason="no advert heard",
        inputs={},
        addresses=(),
        counters={},
        leased=False,
        peers={peer: messages.Speaker(100, 1.0, "plain", 4.0, 7)},
        refused=(messages.Complaint(rogue, "auth_ext_invalid_hmac", reason, 3, 5.0),),
    )
    director.handle(ev.From(Process.ELECTION, messages.Routers((router,)), float("inf")), 5.0)
    return director


def test_the_others_on_the_wire_are_told_and_who_is_refused_is_trouble() -> None:
    told = json.loads(json.dumps(status.build(_with_a_neighbour(), status.Shell(), OFFSET, {})))

    router = told["instances"]["front"]["routers"]["ipv4"]
    assert router["peers"] == {
        "198.51.100.2": {
            "priority": 100,
            "interval": 1.0,
            "checksum": "plain",
            "key": 7,
            "heard_at": 1004.0,
        }
    }
    reason = "adverts of 198.51.100.7 are refused: wrong key"
    assert router["refused"] == [
        {
            "from": "198.51.100.7",
            "kind": "auth_ext_invalid_hmac",
            "reason": reason,
            "count": 3,
            "at": 1005.0,
        }
    ]
    assert router["odd"] == []
    assert f"front/ipv4: {reason}" in told["trouble"]


def test_explain_tells_of_the_others_on_the_wire() -> None:
    told = json.loads(json.dumps(explain.build(_with_a_neighbour(), "front", lambda _: OFFSET)))

    assert told["now"] == [
        "front/ipv4: master: no advert heard",
        "front/ipv4/198.51.100.2: priority 100, each 1 s, checksum plain, signed with key 7",
        "front/ipv4/198.51.100.7/auth_ext_invalid_hmac: adverts of 198.51.100.7 are refused: "
        "wrong key (3 times)",
    ]


def test_the_checks_detail_in_status_is_the_newest() -> None:
    director = _running()
    later = farm.verdicts((ONE, Health.UP), at=9.0)
    director.handle(ev.From(Process.CHECKER, later, float("inf")), 9.0)

    told = json.loads(json.dumps(status.build(director, status.Shell(), OFFSET, {})))

    assert told["services"]["web"]["servers"]["10.0.1.11:80"]["last_check"]["at"] == 1009.0


def test_explain_tells_what_holds_and_how_it_came() -> None:
    told = json.loads(json.dumps(explain.build(_running(), "10.0.1.12:80", lambda _: OFFSET)))

    assert told["now"] == ["web/10.0.1.12:80: weight 0: down, quiesced: told"]
    assert [event["kind"] for event in told["history"]] == ["server_down"]


def test_explain_takes_a_server_as_the_other_verbs_do() -> None:
    whole, *others = (
        json.loads(json.dumps(explain.build(_running(), what, lambda _: OFFSET)))
        for what in ("web/10.0.1.12:80", "web/10.0.1.12", "10.0.1.12")
    )

    assert whole["now"]
    for one in others:
        assert (one["now"], one["history"]) == (whole["now"], whole["history"])


def test_explain_of_a_stranger_lists_what_there_is() -> None:
    told = json.loads(json.dumps(explain.build(_running(), "wbe", lambda _: OFFSET)))

    assert told["error"] == "nothing is named 'wbe'"
    assert told["known"] == ["web", "web/10.0.1.11:80", "web/10.0.1.12:80", "lb2", "ready"]


def test_explain_without_a_name_tells_what_is_not_as_configured_and_nothing_else() -> None:
    told = json.loads(json.dumps(explain.build(_running(), "", lambda _: OFFSET)))

    assert told["now"] == [
        "web: degraded: 1 of 2 servers up, quorum 1",
        "web/10.0.1.12:80: weight 0: down, quiesced: told",
        "lb2: never heard on the peer channel",
    ]


def test_a_fallback_can_be_asked_for_too() -> None:
    spare = RealServer(endpoint=Endpoint(Address("10.0.1.19"), 80), forward=ipvs.Forward.NAT)
    config = replace(farm.CONFIG, services=(replace(farm.WEB, fallback=spare),))
    director = _running()

    director.handle(ev.Configured(config), 3.0)
    waits = explain.build(director, "10.0.1.19:80", lambda _: OFFSET)
    both = farm.verdicts((ONE, Health.DOWN), (TWO, Health.DOWN), at=4.0)
    director.handle(ev.From(Process.CHECKER, both, float("inf")), 4.0)
    serves = explain.build(director, "web/10.0.1.19:80", lambda _: OFFSET)

    assert "fallback, not in IPVS" in str(waits)
    assert "fallback, weight 1: no server has a weight" in str(serves)


def test_what_the_operator_did_is_told_with_when_and_why_and_how_it_ends() -> None:
    stance = Stance(Since(1.0, "kernel"), {"front": Since(2.0, "handed over to lb2")})
    director = Director("1", frozenset(), 0.0, (), stance)
    instance = replace(FRONT, virtual_addresses=())
    director.handle(ev.Configured(replace(farm.CONFIG, instances=(instance,))), 3.0)

    told = json.loads(json.dumps(status.build(director, status.Shell(), OFFSET, {})))
    asked = json.loads(json.dumps(explain.build(director, "node", lambda _: OFFSET)))

    assert told["standby"] == {"since": 1001.0, "reason": "kernel"}
    assert told["instances"]["front"]["hold"] == {"since": 1002.0, "reason": "handed over to lb2"}
    assert told["trouble"][:2] == [
        "in standby; `hadirector standby off` ends it",
        "front is held back: handed over to lb2; `hadirector release front` ends it",
    ]
    assert asked["now"] == ["node: in standby: kernel"]
