"""Rows of the kernel's connection table as records."""

import pytest

from hadirector.core import ipvs_sync, sync_table
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import (
    Destination,
    Entry,
    Forward,
    Service,
    ServiceFlags,
    ServiceKey,
    Table,
)
from hadirector.core.ipvs_sync import Record

HTTP = ServiceKey(4, 6, Address("192.0.2.10"), 80)
MARK = ServiceKey(4, 0, Address(""), 0, 7)
SERVER = Endpoint(Address("10.0.1.11"), 8080)
MARKED = Endpoint(Address("10.0.1.21"), 0)
TABLE: Table = {
    HTTP: Entry(
        Service(HTTP, "rr", ServiceFlags.PERSISTENT, timeout=300),
        {SERVER: Destination(SERVER, Forward.TUN, 1)},
    ),
    MARK: Entry(
        Service(MARK, "rr", ServiceFlags.PERSISTENT, timeout=120),
        {MARKED: Destination(MARKED, Forward.DR, 1)},
    ),
}
# As Linux 6.1 printed them.
ROW = b"TCP C0000264 9C40 C000020A 0050 0A00010B 1F90 ESTABLISHED     899"


def record(row: bytes) -> Record | None:
    found = list(sync_table.records([row], sync_table.Services(TABLE)))
    return ipvs_sync.decode(found[0]) if found else None


def test_a_row_is_the_record_that_the_kernel_would_send() -> None:
    assert record(ROW) == Record(
        protocol=6,
        client=Address("192.0.2.100"),
        client_port=40000,
        virtual=Address("192.0.2.10"),
        virtual_port=80,
        server=Address("10.0.1.11"),
        server_port=8080,
        state=1,
        flags=2,  # forwarded as its server is
        timeout=899,
    )


def test_ipv6_is_read_as_well() -> None:
    found = record(
        b"TCP 2001:0db8:0000:0000:0000:0000:0000:0100 9C40 2001:0db8:0000:0000:0000:0000:0000:0010 "
        b"0050 2001:0db8:0001:0000:0000:0000:0000:0011 1F90 FIN_WAIT        100"
    )

    assert found is not None
    assert (found.client, found.virtual) == ("2001:db8::100", "2001:db8::10")
    assert (found.state_name, found.flags) == ("FIN_WAIT", ipvs_sync.INACTIVE)


def test_the_template_of_a_persistent_client_gets_the_whole_time_of_its_service() -> None:
    found = record(b"TCP C0000264 0000 C000020A 0050 0A00010B 1F90 ASSURED         17")

    assert found is not None
    assert (found.flags, found.timeout, found.state) == (0x1102, 300, 1)


def test_a_connection_of_a_mark_has_the_mark_and_so_has_its_template() -> None:
    found = record(b"TCP C0000264 9C40 C0000214 0050 0A000115 0050 ESTABLISHED     899")
    template = record(b"IP  C0000264 0000 00000007 0000 0A000115 0000 NONE            100")

    assert found is not None
    assert template is not None
    assert (found.fwmark, found.flags) == (7, 3)
    assert (template.fwmark, template.flags, template.timeout) == (7, 0x1103, 120)


def test_udp_is_inactive_always() -> None:
    found = record(b"UDP C0000264 9C40 C000020A 0035 0A00010B 0035 UDP             250")

    assert found is not None
    assert (found.state, found.flags) == (0, ipvs_sync.INACTIVE)


@pytest.mark.parametrize("state", [b"NONE", b"SYN_RECV", b"SYN_SENT", b"SYNACK", b"LAST_ACK"])
def test_a_connection_that_is_being_opened_is_none_to_keep(state: bytes) -> None:
    assert record(ROW.replace(b"ESTABLISHED", state)) is None


@pytest.mark.parametrize("row", [b"", b"TCP C0000264", ROW.replace(b"TCP", b"FOO")])
def test_what_is_no_row_of_ours_is_passed_over(row: bytes) -> None:
    assert record(row) is None


def test_active_ftp_data_whose_client_port_is_not_known_is_no_template() -> None:
    assert record(b"TCP C0000264 0000 C000020A 0014 0A00010B 0014 NONE             60") is None


def test_a_persistence_engines_data_goes_along() -> None:
    found = record(ROW.replace(b"ESTABLISHED", b"ASSURED") + b" sip call-id@host\n")

    assert found is not None
    assert (found.pe_name, found.pe_data) == (b"sip", b"call-id@host")
