"""The table and the connections in ipvsadm's layout; tests/kernel compares with the real tool."""

from hadirector.core import ipvs_connections, ipvs_text, ipvs_view, ipvsadm_order, ipvsadm_rules
from hadirector.core.ipvs import Counters
from hadirector.core.ipvs_text import Style, View
from hadirector.core.ipvs_view import ServerView, ServiceView


def service(address: str = "192.0.2.10", *servers: ServerView, name: str = "") -> ServiceView:
    return ServiceView(
        family=6 if ":" in address else 4,
        protocol="tcp",
        address=address,
        port=80,
        name=name,
        scheduler="wlc",
        persistence_prefix=128 if ":" in address else 32,
        servers=servers,
    )


def server(address: str, *, active: int = 0, counters: Counters | None = None) -> ServerView:
    return ServerView(
        address=address,
        port=80,
        forward="nat",
        weight=1,
        active=active,
        counters=counters or Counters(),
    )


def test_great_numbers_end_in_units_from_a_hundred_million_on() -> None:
    cases = {
        99_999_999: " 99999999",
        100_000_000: "  100000K",
        999_999_999: "  999999K",
        1_000_000_000: "    1000M",
        99_999_999_999: "   99999M",
        100_000_000_000: "     100G",
        99_999_999_999_999: "   99999G",
        100_000_000_000_000: "     100T",
    }
    for number, shown in cases.items():
        one = service("192.0.2.10", server("10.0.1.11", counters=Counters(bytes_out=number)))

        last = list(ipvs_text.lines([one], View.STATS, Style()))[-1]

        assert last.endswith(f"        0{shown}")


def test_numbers_in_full_are_never_cut() -> None:
    one = service("192.0.2.10", server("10.0.1.11", counters=Counters(bytes_in=10**14)))

    last = list(ipvs_text.lines([one], View.STATS, Style(exact=True)))[-1]

    assert last.split()[2:] == ["0", "0", "0", "100000000000000", "0"]


def test_names_stand_beside_addresses_and_columns_are_as_wide_as_they_need_to_be() -> None:
    long = "2001:db8:1111:2222:3333:4444:5555:6666"
    one = service("2001:db8::10", server(long), name="web")

    shown = list(ipvs_text.lines([one], View.TABLE, Style()))

    assert shown == [
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port                          Forward Weight ActiveConn InActConn",
        "TCP  [2001:db8::10]:80 wlc  # web",
        f"  -> [{long}]:80 Masq    1      0          0         ",
    ]


def test_a_server_with_more_connections_comes_first_when_sorted_by_them() -> None:
    idle, busy = server("10.0.1.11"), server("10.0.1.12", active=5)
    quiet = service("192.0.2.1", idle)

    (first, second) = ipvs_view.in_order([quiet, service("192.0.2.9", idle, busy)], "active")

    assert (first.address, second.address) == ("192.0.2.9", "192.0.2.1")
    assert first.servers == (busy, idle)


def test_ipvsadm_puts_addresses_half_the_world_apart_the_wrong_way_round() -> None:
    low, high = service("2.0.0.1"), service("200.0.0.1")

    assert ipvsadm_order.in_order([low, high]) == [high, low]
    assert ipvs_view.in_order([high, low], "address") == [low, high]


def test_services_are_chosen_by_name_address_protocol_and_mark() -> None:
    web, web6 = service("192.0.2.10", name="web").key, service("2001:db8::10").key
    pairs = [(web, "web"), (web6, "web6")]

    def chosen(text: str) -> tuple[str, ...]:
        return tuple(str(key) for key in ipvs_view.chosen(pairs, text))

    assert chosen("web") == ("tcp 192.0.2.10:80",)
    assert chosen("tcp/192.0.2.10:80") == chosen("192.0.2.10") == chosen("web")
    assert chosen("[2001:DB8::10]:80") == ("tcp [2001:db8::10]:80",)
    assert chosen("udp/192.0.2.10:80") == chosen("we") == ()


def test_rules_hold_thresholds_which_ipvsadm_save_leaves_out() -> None:
    limited = ServerView(
        address="10.0.1.11", port=80, forward="nat", weight=2, upper_threshold=9, lower_threshold=3
    )

    assert list(ipvsadm_rules.lines([service("192.0.2.10", limited)])) == [
        "-A -t 192.0.2.10:80 -s wlc",
        "-a -t 192.0.2.10:80 -r 10.0.1.11:80 -m -w 2 -x 9 -y 3",
    ]


def test_a_line_of_the_connection_table_is_read_and_a_line_that_is_none_is_not() -> None:
    one = ipvs_connections.parse(
        "TCP C000020A 9D36 C000020A 0050 0A00010B 1F90 ESTABLISHED     899\n"
    )

    assert one is not None
    assert (one.client, one.client_port, one.server, one.server_port) == (
        *("192.0.2.10", 40246),
        *("10.0.1.11", 8080),
    )
    assert str(one.key) == "tcp 192.0.2.10:80"
    assert ipvs_connections.text(one, engines=True) == (
        "TCP 14:59  ESTABLISHED 192.0.2.10:40246   192.0.2.10:80      10.0.1.11:8080"
    )
    for line in (
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
        "TCP C000020A 9D36 C0 0050 0A00010B 1F90 ESTABLISHED     899\n",
        "TCP C000020A 9D36\n",
        "",
    ):
        assert ipvs_connections.parse(line) is None


def test_the_data_of_a_persistence_engine_may_hold_spaces() -> None:
    one = ipvs_connections.parse(
        "UDP 2001:0db8:0000:0000:0000:0000:0000:0010 0000 2001:0db8:0000:0000:0000:0000:0000:0010"
        " 13C4 0A00010B 13C5 NONE             59 sip a call id\n"
    )

    assert one is not None
    assert (one.client, one.server, one.engine, one.data) == (
        *("2001:db8::10", "10.0.1.11"),
        *("sip", "a call id"),
    )
