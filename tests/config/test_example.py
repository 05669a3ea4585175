"""The contract: conf/hadirector.example.yaml and its brothers load, mean what they say, and the
defaults are those that the comments state."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hadirector.config.load import load
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import (
    Forward,
    Protocol,
    Service,
    ServiceFlags,
    ServiceKey,
    Timeouts,
)
from hadirector.core.settings.checks import Check, CheckRule, CheckType, Combine, StatusRange
from hadirector.core.settings.cluster import (
    Api,
    Config,
    ConnectionSync,
    Hook,
    LeaseMode,
    Node,
    ResyncPolicy,
    Script,
    SyncTransport,
)
from hadirector.core.settings.instances import (
    Authentication,
    Checksum,
    Garp,
    Instance,
    Preempt,
    SyncGroup,
    Tracked,
    VirtualAddress,
)
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService
from tests.config.files import CONF, EXAMPLE, config_of

FRONT = Instance(
    name="front",
    interface="eth0",
    virtual_router_id=51,
    priority=150,
    peer_priorities=(100,),
    version=3,
    advert_int=1.0,
    virtual_addresses=(
        VirtualAddress(Address("192.0.2.10"), 24, "eth0"),
        VirtualAddress(Address("2001:db8::10"), 64, "eth0"),
        VirtualAddress(Address("10.0.9.1"), 24, "eth1"),
    ),
    couple=True,
    preempt=Preempt.WHEN_SYNCED,
    preempt_delay=0.0,
    sync_wait=120.0,
    startup_delay=None,
    unicast=None,
    track_interfaces=(Tracked("eth1", None),),
    track_scripts=(Tracked("disk", -10),),
    track_services=(Tracked("web", -60),),
    garp=Garp(repeat=5, delay=5.0, refresh=60.0),
    vmac=False,
    accept=True,
    authentication=Authentication(),
    checksum=Checksum.AUTO,
)
PAGE = Check(
    name="page",
    type=CheckType.HTTP,
    interval=1.0,
    fast_interval=0.2,
    timeout=0.5,
    rise=2,
    fall=2,
    held=True,
    path="/healthz",
    host="shop.example",
    status=(StatusRange(200, 299),),
    body="OK",
)
WEB = VirtualService(
    name="web",
    address="192.0.2.10:80",
    protocol="tcp",
    services=(
        Service(
            key=ServiceKey(4, Protocol.TCP, Address("192.0.2.10"), 80),
            scheduler="wlc",
            flags=ServiceFlags.PERSISTENT,
            timeout=300,
            netmask=32,
        ),
    ),
    forward=Forward.NAT,
    check=CheckRule(Combine.ALL, ("page",)),
    quorum=1,
    floor=0.0,
    on_failure=OnFailure.AUTO,
    slow_start=30.0,
    fallback=RealServer(endpoint=Endpoint(Address("10.0.1.99"), 80), forward=Forward.NAT),
    real_servers=(
        RealServer(endpoint=Endpoint(Address("10.0.1.11"), 8080), forward=Forward.NAT),
        RealServer(
            endpoint=Endpoint(Address("10.0.1.12"), 8080),
            weight=2,
            forward=Forward.NAT,
            upper_threshold=5000,
            lower_threshold=4000,
        ),
    ),
)


def example(node: str) -> Config:
    loaded = load(str(EXAMPLE), node)
    assert loaded.config is not None, loaded.problems
    return loaded.config


def test_the_whole_example_loads_for_lb1_as_it_is_written() -> None:
    config = example("lb1")

    assert config == Config(
        path=str(EXAMPLE),
        digest=config.digest,
        node="lb1",
        cluster="shop",
        state_dir="/var/lib/hadirector",
        runtime_dir="/run/hadirector",
        nodes=(
            Node("lb1", 150, Address("198.51.100.1")),
            Node("lb2", 100, Address("198.51.100.2")),
        ),
        peer_port=8849,
        key_file="/etc/hadirector/cluster.key",
        vip_lease=config.vip_lease,
        api=Api("/run/hadirector/control.sock", Endpoint(Address("127.0.0.1"), 9180)),
        instances=(
            FRONT,
            Instance(
                name="inside",
                interface="eth1",
                virtual_router_id=52,
                priority=150,
                peer_priorities=(100,),
                version=3,
                advert_int=1.0,
                virtual_addresses=(VirtualAddress(Address("10.0.1.254"), 24, "eth1"),),
            ),
        ),
        sync_groups=(SyncGroup("director", ("front", "inside")),),
        scripts=(Script("disk", ("/usr/lib/hadirector/disk-ok", "/"), 5.0, 2.0, 2, 2),),
        hooks=(
            Hook(
                (
                    *("master", "backup", "fault", "server_down", "server_up"),
                    *("quorum_lost", "quorum_gained"),
                ),
                ("/etc/hadirector/notify",),
                5.0,
            ),
        ),
        connection_sync=ConnectionSync(
            interface="eth1",
            sync_id=51,
            group=Address("224.0.0.81"),
            port=8848,
            transport=SyncTransport.KERNEL,
            resync=ResyncPolicy.ON_JOIN,
        ),
        timeouts=Timeouts(tcp=900, tcp_fin=120, udp=300),
        checks=(PAGE,),
        services=(WEB,),
    )
    assert config.vip_lease.mode is LeaseMode.AUTO


def test_lb2_differs_only_in_its_name_and_its_priorities() -> None:
    one, two = example("lb1"), example("lb2")

    assert two.digest == one.digest
    told = [(instance.priority, instance.peer_priorities) for instance in two.instances]
    assert told == [(100, (150,)), (100, (150,))]
    same = tuple(
        replace(instance, priority=150, peer_priorities=(100,)) for instance in two.instances
    )
    assert replace(two, node="lb1", instances=same) == one


def test_all_of_the_example_is_active() -> None:
    assert load(str(EXAMPLE), "lb1").problems == ()


# What may be left out of the example without a change of meaning: the values shown are defaults.
OPTIONAL = (
    *("state_dir", "runtime_dir", "include", "peer", "vip_lease", "timeouts"),
    "api.socket",
    "vrrp.defaults",
    *(
        f"vrrp.instances.front.{key}"
        for key in (
            *("priority", "excluded_addresses", "couple", "preempt", "preempt_delay"),
            *("sync_wait", "startup_delay", "unicast", "track_files", "track_processes"),
            *("virtual_routes", "virtual_rules", "garp", "vmac", "accept"),
            *("authentication", "checksum"),
        )
    ),
    *(
        f"connection_sync.{key}"
        for key in ("sync_id", "group", "port", "transport", "unicast", "resync")
    ),
    *(
        f"checks.page.{key}"
        for key in ("status", "interval", "fast_interval", "timeout", "rise", "fall", "held")
    ),
    *(
        f"virtual_services.web.{key}"
        for key in (
            *("protocol", "scheduler", "scheduler_flags", "forward", "one_packet"),
            *("quorum", "floor", "on_failure"),
        )
    ),
    "virtual_services.web.persistence.timeout",
    "virtual_services.web.persistence.prefix",
    *(f"scripts.disk.{key}" for key in ("interval", "timeout", "rise", "fall")),
)


@pytest.mark.parametrize("path", OPTIONAL)
def test_the_value_shown_is_the_default(tmp_path: Path, path: str) -> None:
    tree = yaml.safe_load(EXAMPLE.read_text())
    *above, key = path.split(".")
    inner = tree
    for step in above:
        inner = inner[step]
    del inner[key]

    config = config_of(tmp_path, yaml.safe_dump(tree), "lb1")

    whole = example("lb1")
    assert replace(config, path=whole.path, digest=whole.digest) == whole


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_fine(path: Path) -> None:
    nodes = (yaml.safe_load(path.read_text()) or {}).get("nodes") or {"alone": {}}

    for node in nodes:
        loaded = load(str(path), node)
        assert loaded.config is not None
        assert loaded.problems == ()


def test_the_reference_names_every_key_of_a_check_that_its_brothers_use() -> None:
    text = EXAMPLE.read_text()
    files = [yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")]
    used = {key for file in files for check in file.get("checks", {}).values() for key in check}

    assert {key for key in used if not re.search(rf"\b{key}\b", text)} == set()
