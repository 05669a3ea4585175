"""A small farm to test with: one cluster, two directors, one service, two servers."""

from dataclasses import replace

from hadirector.core import ipvs, messages
from hadirector.core.address import Address, Endpoint
from hadirector.core.messages import Health, Probe, Verdict, Verdicts
from hadirector.core.settings.checks import (
    Check,
    CheckRule,
    CheckType,
    Combine,
    Target,
    target_id,
)
from hadirector.core.settings.cluster import Api, Config, Node, VipLease
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService

ONE = Endpoint(Address("10.0.1.11"), 80)
TWO = Endpoint(Address("10.0.1.12"), 80)
KEY = ipvs.ServiceKey(4, ipvs.Protocol.TCP, Address("192.0.2.10"), 80)

PAGE = Check(
    name="page",
    type=CheckType.HTTP,
    interval=1.0,
    fast_interval=0.2,
    timeout=0.5,
    rise=2,
    fall=2,
    held=False,
)

WEB = VirtualService(
    name="web",
    address="192.0.2.10:80",
    protocol="tcp",
    services=(ipvs.Service(KEY, "rr"),),
    forward=ipvs.Forward.NAT,
    check=CheckRule(Combine.ALL, ("page",)),
    quorum=1,
    floor=0.0,
    on_failure=OnFailure.AUTO,
    slow_start=0.0,
    fallback=None,
    real_servers=(
        RealServer(endpoint=ONE, forward=ipvs.Forward.NAT, weight=3),
        RealServer(endpoint=TWO, forward=ipvs.Forward.NAT),
    ),
)

CONFIG = Config(
    path="/etc/hadirector/hadirector.yaml",
    digest="d1",
    node="lb1",
    cluster="shop",
    state_dir="/var/lib/hadirector",
    runtime_dir="/run/hadirector",
    nodes=(
        Node("lb1", 150, Address("198.51.100.1")),
        Node("lb2", 100, Address("198.51.100.2")),
    ),
    peer_port=8849,
    key_file=None,
    vip_lease=VipLease(),
    api=Api("/run/hadirector/control.sock", None),
    instances=(),
    sync_groups=(),
    scripts=(),
    hooks=(),
    connection_sync=None,
    timeouts=ipvs.Timeouts(),
    checks=(PAGE,),
    services=(WEB,),
)

TARGETS = messages.Targets(
    tuple(Target(target_id("page", endpoint), PAGE, endpoint) for endpoint in (ONE, TWO))
)


def verdicts(*found: tuple[Endpoint, Health], answered: bool = True, at: float = 0.0) -> Verdicts:
    """What the checker would say of these servers."""
    return Verdicts(
        tuple(
            Verdict(
                target_id("page", endpoint),
                health,
                at,
                Probe(health in (Health.UP, Health.FALLING), answered, "told", 1.0, at),
            )
            for endpoint, health in found
        ),
        whole=False,
    )


def entry(one: int | None, two: int | None, service: ipvs.Service | None = None) -> ipvs.Entry:
    """The web service in IPVS with these weights; None: the server is absent."""
    weights = ((WEB.real_servers[0], one), (WEB.real_servers[1], two))
    return ipvs.Entry(
        service or WEB.services[0],
        {server.endpoint: server.destination(w) for server, w in weights if w is not None},
    )


def stranger(port: int = 8080) -> dict[ipvs.ServiceKey, ipvs.Entry]:
    """A service somebody else made."""
    key = replace(KEY, port=port)
    return {key: ipvs.Entry(ipvs.Service(key, "lc"))}
