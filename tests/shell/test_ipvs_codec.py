"""IPVS messages: pyroute2's classes read what we write, and we read what they write."""

import errno
import socket
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.ipvs import ipvsmsg

from hadirector.core import plan
from hadirector.core.address import Address, Endpoint, Family
from hadirector.core.ipvs import (
    Counters,
    Destination,
    DestinationUse,
    Forward,
    Service,
    ServiceFlags,
    ServiceKey,
    SyncRole,
    SyncThread,
    Timeouts,
    TunnelType,
)
from hadirector.shell import ipvs_codec as codec
from hadirector.shell import netlink

FAMILY = 30  # any number a kernel may have given
WEB = ServiceKey(4, 6, Address("192.0.2.10"), 80)
DNS = ServiceKey(6, 17, Address("2001:db8::53"), 53)
MARK = ServiceKey(6, 0, Address(""), 0, fwmark=7)
STAT_NAMES = (
    "CONNS", "INPKTS", "OUTPKTS", "INBYTES", "OUTBYTES", "CPS", "INPPS", "OUTPPS", "INBPS", "OUTBPS"
)  # fmt: skip


def theirs(body: bytes) -> ipvsmsg:
    """Our body as pyroute2 reads it."""
    message = ipvsmsg(netlink.message(FAMILY, 0, body, 1))
    message.decode()
    return message


def nested(message: ipvsmsg, name: str) -> dict[str, object]:
    return dict(message.get_attr(name)["attrs"])


def ours(command: int, name: str, attrs: list[tuple[str, object]]) -> memoryview:
    """A kernel's message as pyroute2 writes it, without netlink's own header."""
    message = ipvsmsg()
    message["cmd"], message["version"] = command, 1
    message["attrs"] = [(name, {"attrs": attrs})]
    message.encode()
    return memoryview(bytes(message.data))[16:]


# --- Encoding ---


def test_a_service_is_written_whole() -> None:
    service = Service(
        WEB, "sh", ServiceFlags.PERSISTENT | ServiceFlags.SCHED2, timeout=300, netmask=24
    )

    message = theirs(codec.encode_operation(plan.AddService(service)))

    assert (message["cmd"], message["version"]) == (1, 1)
    assert nested(message, "IPVS_CMD_ATTR_SERVICE") == {
        "IPVS_SVC_ATTR_AF": socket.AF_INET,
        "IPVS_SVC_ATTR_PROTOCOL": 6,
        "IPVS_SVC_ATTR_ADDR": "192.0.2.10",
        "IPVS_SVC_ATTR_PORT": 80,
        "IPVS_SVC_ATTR_SCHED_NAME": "sh",
        "IPVS_SVC_ATTR_FLAGS": {"flags": 0x11, "mask": 0xFFFFFFFF},
        "IPVS_SVC_ATTR_TIMEOUT": 300,
        "IPVS_SVC_ATTR_NETMASK": "255.255.255.0",
    }


def test_an_ipv6_netmask_is_a_prefix_length_in_host_order() -> None:
    body = codec.encode_service(Service(DNS, "rr", netmask=128))

    fields = dict(netlink.attributes(dict(netlink.attributes(body))[1]))

    assert struct.unpack("=I", fields[9]) == (128,)


def test_a_fwmark_service_has_neither_address_nor_protocol() -> None:
    service = Service(MARK, "rr", ServiceFlags.PERSISTENT, timeout=60, netmask=128, pe_name="sip")

    fields = nested(
        theirs(codec.encode_operation(plan.EditService(service, service))), "IPVS_CMD_ATTR_SERVICE"
    )

    assert set(fields) == {
        "IPVS_SVC_ATTR_AF",
        "IPVS_SVC_ATTR_FWMARK",
        "IPVS_SVC_ATTR_SCHED_NAME",
        "IPVS_SVC_ATTR_FLAGS",
        "IPVS_SVC_ATTR_TIMEOUT",
        "IPVS_SVC_ATTR_NETMASK",
        "IPVS_SVC_ATTR_PE_NAME",
    }
    assert fields["IPVS_SVC_ATTR_AF"] == socket.AF_INET6
    assert fields["IPVS_SVC_ATTR_FWMARK"] == 7
    assert fields["IPVS_SVC_ATTR_PE_NAME"] == "sip"


def test_a_destination_is_written_whole() -> None:
    destination = Destination(
        Endpoint(Address("10.0.1.11"), 8080),
        Forward.TUN,
        weight=5,
        upper_threshold=5000,
        lower_threshold=4000,
        tunnel=TunnelType.GUE,
        tunnel_port=6080,
        tunnel_flags=2,
    )

    message = theirs(codec.encode_operation(plan.AddDestination(WEB, destination)))

    assert message["cmd"] == 5
    assert nested(message, "IPVS_CMD_ATTR_SERVICE") == {
        "IPVS_SVC_ATTR_AF": socket.AF_INET,
        "IPVS_SVC_ATTR_PROTOCOL": 6,
        "IPVS_SVC_ATTR_ADDR": "192.0.2.10",
        "IPVS_SVC_ATTR_PORT": 80,
    }
    assert nested(message, "IPVS_CMD_ATTR_DEST") == {
        "IPVS_DEST_ATTR_ADDR": "10.0.1.11",
        "IPVS_DEST_ATTR_PORT": 8080,
        "IPVS_DEST_ATTR_FWD_METHOD": 2,
        "IPVS_DEST_ATTR_WEIGHT": 5,
        "IPVS_DEST_ATTR_U_THRESH": 5000,
        "IPVS_DEST_ATTR_L_THRESH": 4000,
        "IPVS_DEST_ATTR_ADDR_FAMILY": socket.AF_INET,
        "IPVS_DEST_ATTR_TUN_TYPE": 1,
        "IPVS_DEST_ATTR_TUN_PORT": socket.htons(6080),  # pyroute2 reads it in host order
        "IPVS_DEST_ATTR_TUN_FLAGS": 2,
    }


@pytest.mark.parametrize(
    ("operation", "command"),
    [
        (plan.AddService(Service(WEB, "rr")), 1),
        (plan.EditService(Service(WEB, "rr"), Service(WEB, "wrr")), 2),
        (plan.DeleteService(WEB), 3),
        (plan.AddDestination(WEB, Destination(Endpoint(WEB.address, 1), Forward.NAT, 1)), 5),
        (
            plan.EditDestination(
                WEB,
                Destination(Endpoint(WEB.address, 1), Forward.NAT, 1),
                Destination(Endpoint(WEB.address, 1), Forward.NAT, 2),
            ),
            6,
        ),
        (plan.DeleteDestination(WEB, Destination(Endpoint(WEB.address, 1), Forward.NAT, 1)), 7),
    ],
)
def test_each_operation_is_its_own_command(operation: plan.Operation, command: int) -> None:
    assert theirs(codec.encode_operation(operation))["cmd"] == command


def test_a_sync_thread_says_only_what_is_not_left_to_the_kernel() -> None:
    short = codec.encode_thread(SyncThread(SyncRole.MASTER, "eth1", 51))
    full = codec.encode_thread(
        SyncThread(SyncRole.BACKUP, "hd0", 0, Address("ff02::81"), port=8850, ttl=2, maxlen=9000)
    )

    def values(body: bytes) -> dict[int, bytes]:
        inner = dict(netlink.attributes(body))[3]
        return {kind: bytes(value) for kind, value in netlink.attributes(inner)}

    assert values(short) == {
        1: struct.pack("=I", 1),
        2: b"eth1\0",
        3: struct.pack("=I", 51),
    }
    assert values(full) == {
        1: struct.pack("=I", 2),
        2: b"hd0\0",
        3: struct.pack("=I", 0),
        4: struct.pack("=H", 9000),
        6: socket.inet_pton(socket.AF_INET6, "ff02::81"),
        7: struct.pack("=H", 8850),
        8: b"\x02",
    }
    for body in (short, full):
        assert codec.decode_thread(memoryview(codec.command(9, body))).satisfied_by(
            codec.decode_thread(memoryview(codec.command(9, body)))
        )


def test_a_sync_id_wider_than_the_wire_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        codec.encode_thread(SyncThread(SyncRole.MASTER, "eth1", 300))


# --- Decoding ---


def test_a_service_written_by_pyroute2_is_read_back() -> None:
    body = ours(
        1,
        "IPVS_CMD_ATTR_SERVICE",
        [
            ("IPVS_SVC_ATTR_AF", socket.AF_INET),
            ("IPVS_SVC_ATTR_PROTOCOL", 6),
            ("IPVS_SVC_ATTR_ADDR", "192.0.2.10"),
            ("IPVS_SVC_ATTR_PORT", 80),
            ("IPVS_SVC_ATTR_SCHED_NAME", "wlc"),
            ("IPVS_SVC_ATTR_FLAGS", {"flags": 0x3, "mask": 0xFFFFFFFF}),
            ("IPVS_SVC_ATTR_TIMEOUT", 300),
            ("IPVS_SVC_ATTR_NETMASK", "255.255.0.0"),
            ("IPVS_SVC_ATTR_STATS64", _stats(range(1, 11))),
        ],
    )

    service, counters = codec.decode_service(body)

    assert service == Service(WEB, "wlc", ServiceFlags.PERSISTENT, timeout=300, netmask=16)
    assert counters == Counters(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


def _stats(values: range) -> dict[str, object]:
    return {
        "attrs": [
            (f"IPVS_STATS_ATTR_{name}", value)
            for name, value in zip(STAT_NAMES, values, strict=True)
        ]
    }


def _destination_body(weight: int = 3, stats: str = "STATS64") -> memoryview:
    return ours(
        5,
        "IPVS_CMD_ATTR_DEST",
        [
            ("IPVS_DEST_ATTR_ADDR_FAMILY", socket.AF_INET6),
            ("IPVS_DEST_ATTR_ADDR", "2001:db8::11"),
            ("IPVS_DEST_ATTR_PORT", 8080),
            ("IPVS_DEST_ATTR_FWD_METHOD", 3),
            ("IPVS_DEST_ATTR_WEIGHT", weight),
            ("IPVS_DEST_ATTR_TUN_TYPE", 2),
            ("IPVS_DEST_ATTR_TUN_PORT", 0),
            ("IPVS_DEST_ATTR_TUN_FLAGS", 1),
            ("IPVS_DEST_ATTR_U_THRESH", 9),
            ("IPVS_DEST_ATTR_L_THRESH", 8),
            ("IPVS_DEST_ATTR_ACTIVE_CONNS", 100),
            ("IPVS_DEST_ATTR_INACT_CONNS", 20),
            ("IPVS_DEST_ATTR_PERSIST_CONNS", 5),
            (f"IPVS_DEST_ATTR_{stats}", _stats(range(11, 21))),
        ],
    )


DESTINATION = Destination(
    Endpoint(Address("2001:db8::11"), 8080), Forward.DR, 3, 9, 8, TunnelType.GRE, 0, 1
)
USE = DestinationUse(100, 20, 5, Counters(11, 12, 13, 14, 15, 16, 17, 18, 19, 20))


@pytest.mark.parametrize("stats", ["STATS", "STATS64"])
def test_a_destination_written_by_pyroute2_is_read_back(stats: str) -> None:
    assert codec.decode_destination(_destination_body(stats=stats), 4) == (DESTINATION, USE)


def test_a_netmask_with_holes_is_no_prefix() -> None:
    body = bytearray(codec.command(1, codec.encode_service(Service(WEB, "rr", netmask=16))))
    at = body.index(b"\xff\xff\0\0", -12)
    body[at : at + 4] = b"\xff\0\xff\0"

    service, _ = codec.decode_service(memoryview(bytes(body)))

    assert service.netmask == 0


def test_timeouts_and_facts_are_read() -> None:
    timeouts = Timeouts(900, 120, 300)
    info = netlink.attribute(1, struct.pack("=I", 0x010201))
    info += netlink.attribute(2, struct.pack("=I", 4096))

    body = codec.command(12, codec.encode_timeouts(timeouts))
    assert codec.decode_timeouts(memoryview(body)) == timeouts
    assert codec.decode_info(memoryview(codec.command(14, info))) == codec.Info("1.2.1", 4096)


# --- There and back, and nonsense ---

weights = st.integers(0, 2**31 - 1)
thresholds = st.integers(0, 2**32 - 1)
ports = st.integers(0, 65535)
v4, v6 = (
    st.ip_addresses(v=4).map(lambda each: Address(str(each))),
    st.ip_addresses(v=6).map(lambda each: Address(str(each))),
)
destinations = st.builds(
    Destination,
    st.builds(Endpoint, v4 | v6, ports),
    st.sampled_from(Forward),
    weights,
    thresholds,
    thresholds,
    st.sampled_from(TunnelType),
    ports,
    ports,
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    families: tuple[Family, ...] = (4, 6)
    family = draw(st.sampled_from(families))
    protocol = draw(st.sampled_from([6, 17, 132]))
    key = ServiceKey(family, protocol, draw(v4 if family == 4 else v6), draw(ports))
    if draw(st.booleans()):
        key = ServiceKey(family, 0, Address(""), 0, draw(st.integers(1, 2**32 - 1)))
    return Service(
        key,
        draw(st.sampled_from(["rr", "wlc", "mh"])),
        ServiceFlags(draw(st.sampled_from([0, 1, 4, 8, 0x10, 0x3D]))),
        draw(st.integers(0, 2_678_400)),
        draw(st.integers(1, 32 if family == 4 else 128)),
        draw(st.sampled_from(["", "sip"])),
    )


@given(services())
def test_every_service_survives_the_way_there_and_back(service: Service) -> None:
    body = memoryview(codec.command(1, codec.encode_service(service)))

    assert codec.decode_service(body) == (service, Counters())


@given(destinations)
def test_every_destination_survives_the_way_there_and_back(destination: Destination) -> None:
    body = memoryview(codec.command(5, codec.encode_destination(destination)))

    assert codec.decode_destination(body, 4) == (destination, codec.UNUSED)


@given(st.data())
def test_a_damaged_reply_is_refused_or_read_never_worse(data: st.DataObject) -> None:
    sound = data.draw(
        st.sampled_from(
            [
                bytes(_destination_body()),
                codec.command(1, codec.encode_service(Service(WEB, "rr", pe_name="sip"))),
                codec.command(9, codec.encode_thread(SyncThread(SyncRole.MASTER, "eth1", 5))),
                codec.command(12, codec.encode_timeouts(Timeouts(1, 2, 3))),
            ]
        )
    )
    damaged = bytearray(sound)
    for at in data.draw(st.lists(st.integers(0, len(sound) - 1), max_size=6)):
        damaged[at] = data.draw(st.integers(0, 255))
    body = memoryview(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))

    for decode in (
        codec.decode_service,
        codec.decode_thread,
        codec.decode_timeouts,
        codec.decode_info,
        lambda damaged: codec.decode_destination(damaged, 4),
    ):
        assert outcome(decode, body) in (None, errno.EPROTO)


def outcome(decode: Callable[[memoryview], object], body: memoryview) -> int | None:
    """None, or the number of the KernelError; any other exception passes."""
    try:
        decode(body)
    except netlink.KernelError as error:
        return error.errno
    return None
