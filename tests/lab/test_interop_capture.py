"""tcpdump's words, recorded with a real keepalived, become what the judge looks at."""

from labkit.interop import capture
from labkit.interop.capture import Advert, Announcement, Answer, Question

LB1, LB2, CLIENT = "0a:fd:9f:5c:f3:a9", "12:f7:ef:4f:12:d6", "62:a1:d6:a6:22:50"
GROUP = "01:00:5e:00:00:12"


def test_a_version_3_advert_is_read_with_its_ip_header() -> None:
    text = f"""\
1795698355.160562 {LB2} > {GROUP}, ethertype IPv4 (0x0800), length 50: (tos 0xc0, ttl 255, id 42, \
offset 0, flags [none], proto VRRP (112), length 36)
    192.0.2.2 > 224.0.0.18: VRRPv3, Advertisement, vrid 51, prio 100, intvl 10cs, length 16, \
addrs(2): 192.0.2.10,192.0.2.11
"""

    seen = capture.read(text, offset=-1795698000)

    assert seen.adverts == (
        Advert(
            at=seen.adverts[0].at,
            mac=LB2,
            source="192.0.2.2",
            destination="224.0.0.18",
            ttl=255,
            tos=0xC0,
            version=3,
            vrid=51,
            priority=100,
            authentication="none",
            interval=0.1,
            addresses=frozenset(("192.0.2.10", "192.0.2.11")),
            flaw="",
        ),
    )
    assert round(seen.adverts[0].at, 6) == 355.160562
    assert seen.strange == ()


def test_password_and_bad_checksum_of_version_2_are_read() -> None:
    text = f"""\
1.5 {LB2} > {GROUP}, ethertype IPv4 (0x0800), length 60: (tos 0xc0, ttl 64, id 42, offset 0, \
flags [none], proto VRRP (112), length 44)
    192.0.2.2 > 224.0.0.18: vrrp 192.0.2.2 > 224.0.0.18: VRRPv2, Advertisement, (ttl 64), vrid 51, \
prio 0, authtype simple, intvl 1s, length 24, (bad vrrp cksum dead), addrs: 192.0.2.10 \
auth "matrix1"
"""

    (advert,) = capture.read(text, 0.0).adverts

    assert (advert.authentication, advert.flaw) == ("simple", "(bad vrrp cksum dead)")
    assert (advert.ttl, advert.priority, advert.interval) == (64, 0, 1.0)
    assert advert.addresses == {"192.0.2.10"}


def test_a_version_3_advert_over_ipv6_is_read() -> None:
    text = (
        f"2.5 {LB2} > 33:33:00:00:00:12, ethertype IPv6 (0x86dd), length 94: (class 0xc0, "
        "flowlabel 0x47c11, hlim 255, next-header VRRP (112) payload length: 40) fe80::2 > "
        "ff02::12: VRRPv3, Advertisement, vrid 51, prio 150, intvl 10cs, length 40, addrs(2): "
        "fe80::10,2001:db8::10\n"
    )

    (advert,) = capture.read(text, 0.0).adverts

    assert (advert.source, advert.destination) == ("fe80::2", "ff02::12")
    assert (advert.ttl, advert.tos) == (255, 0xC0)
    assert advert.addresses == {"fe80::10", "2001:db8::10"}


def test_a_vrrp_packet_that_is_no_advert_is_strange() -> None:
    text = f"""\
3.5 {LB2} > {GROUP}, ethertype IPv4 (0x0800), length 60: (tos 0xc0, ttl 255, id 42, offset 0, \
flags [none], proto VRRP (112), length 44)
    192.0.2.2 > 224.0.0.18: VRRPv1, #1, length 24
"""

    seen = capture.read(text, 0.0)

    assert seen.adverts == ()
    assert len(seen.strange) == 1


def test_an_icmp_error_that_quotes_an_advert_is_none() -> None:
    text = f"""\
4.5 {LB1} > {LB2}, ethertype IPv4 (0x0800), length 78: (tos 0xd0, ttl 64, id 6, offset 0, \
flags [none], proto ICMP (1), length 64)
    192.0.2.1 > 192.0.2.2: ICMP 192.0.2.1 protocol 112 unreachable, length 44
\t(tos 0xc0, ttl 255, id 42, offset 0, flags [none], proto VRRP (112), length 36)
    192.0.2.2 > 192.0.2.1: VRRPv3, Advertisement, vrid 51, prio 100, intvl 10cs, length 16, \
addrs(2): 192.0.2.10,192.0.2.11
"""

    assert capture.read(text, 0.0) == capture.Seen(text=text)


def test_announcements_are_told_from_questions() -> None:
    text = f"""\
5.1 {LB1} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Ethernet (len 6), IPv4 (len 4), \
Request who-has 192.0.2.10 (ff:ff:ff:ff:ff:ff) tell 192.0.2.10, length 28
5.2 {LB1} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Ethernet (len 6), IPv4 (len 4), \
Request who-has 192.0.2.100 tell 192.0.2.10, length 28
5.3 {LB2} > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: (hlim 255, next-header ICMPv6 \
(58) payload length: 32) 2001:db8::10 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement, \
length 32, tgt is 2001:db8::10, Flags [router, override]
5.4 {LB2} > {CLIENT}, ethertype IPv6 (0x86dd), length 86: (hlim 255, next-header ICMPv6 (58) \
payload length: 32) 2001:db8::10 > 2001:db8::100: [icmp6 sum ok] ICMP6, neighbor advertisement, \
length 32, tgt is 2001:db8::10, Flags [router, solicited, override]
"""

    assert capture.read(text, 0.0).announcements == (
        Announcement(5.1, LB1, "192.0.2.10"),
        Announcement(5.3, LB2, "2001:db8::10"),
    )


def test_the_clients_questions_and_their_answers_are_numbered() -> None:
    text = f"""\
6.1 {CLIENT} > {LB1}, ethertype IPv4 (0x0800), length 42: (tos 0x0, ttl 64, id 1, offset 0, \
flags [DF], proto ICMP (1), length 28)
    192.0.2.100 > 192.0.2.11: ICMP echo request, id 77, seq 9, length 8
6.2 {LB1} > {CLIENT}, ethertype IPv4 (0x0800), length 42: (tos 0x0, ttl 64, id 1, offset 0, \
flags [none], proto ICMP (1), length 28)
    192.0.2.11 > 192.0.2.100: ICMP echo reply, id 77, seq 9, length 8
6.3 {LB1} > {CLIENT}, ethertype IPv6 (0x86dd), length 62: (flowlabel 0x1, hlim 64, next-header \
ICMPv6 (58) payload length: 8) 2001:db8::10 > 2001:db8::100: [icmp6 sum ok] ICMP6, echo reply, \
id 77, seq 10
"""

    seen = capture.read(text, 0.0)

    assert seen.questions == (Question(6.1, 9),)
    assert seen.answers == (Answer(6.2, 9, LB1), Answer(6.3, 10, LB1))
