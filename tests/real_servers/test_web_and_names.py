"""http, https and tls against nginx; dns and udp against BIND."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause
from hadirector.core.settings.checks import Check, CheckType
from hadirector.core.settings.questions import Dns, JsonWanted, Tls, Transport, Udp
from hadirector.shell.probes import dns_message
from tests.real_servers.daemons import command, free_port, running
from tests.shell.authority import Authority
from tests.shell.probing import answered, check, good, probe

NGINX = """\
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; gzip on; gzip_min_length 1; gzip_types text/plain;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;
    root {folder}/www;
    location = /state {{ default_type application/json;
      return 200 '{{"status": "ok", "db": [{{"up": true}}]}}'; }}
    location = /moved {{ return 302 /; }}
    location = /down {{ return 503 "no"; }}
    location /secret {{ auth_basic x; auth_basic_user_file {folder}/passwords; }}
  }}
}}
"""
NAMED = Tls(name="shop.example", ca_file="/ca")
AUTH = {"/auth": FileText(b"probe:s3cret\n"), "/bad": FileText(b"probe:wrong\n")}


@dataclass(frozen=True, slots=True)
class Web:
    plain: int
    tls: int


@pytest.fixture
async def nginx(folder: Path, authority: Authority) -> AsyncIterator[Web]:
    web = Web(free_port(), free_port())
    certificate, key = authority.certificate("nginx")
    (folder / "chain.pem").write_bytes(certificate.read_bytes())
    (folder / "key.pem").write_bytes(key.read_bytes())
    (folder / "www").mkdir()
    (folder / "www" / "index.html").write_text("all well\n" * 1000)
    (folder / "www" / "secret").write_text("found\n")
    hashed = command(["openssl", "passwd", "-apr1", "s3cret"]).strip()
    (folder / "passwords").write_text(f"probe:{hashed}\n")
    (folder / "conf").write_text(NGINX.format(folder=folder, plain=web.plain, tls=web.tls))
    async with running(["nginx", "-p", folder, "-c", folder / "conf"], web.plain, folder):
        yield web


def page(path: str = "/", **more: object) -> Check:
    return replace(check(CheckType.HTTP), path=path, **more)  # type: ignore[arg-type]  # by name


async def test_nginx_by_http(nginx: Web) -> None:
    assert await probe(page(body="(?m)^all well$"), nginx.plain) == good("HTTP 200, body matches")
    state = (JsonWanted("status", '"ok"'), JsonWanted("db.0.up", "true"))
    assert (await probe(page("/state", json=state), nginx.plain)).cause is Cause.GOOD
    assert await probe(page("/moved"), nginx.plain) == answered("HTTP 302, expected 200-299")
    assert await probe(page("/down"), nginx.plain) == answered("HTTP 503, expected 200-299")
    login = page("/secret", auth_file="/auth")
    assert await probe(login, nginx.plain, files=AUTH) == good("HTTP 200")
    wrong = await probe(replace(login, auth_file="/bad"), nginx.plain, files=AUTH)
    assert wrong == answered("HTTP 401, expected 200-299")


async def test_nginx_by_https_and_tls(nginx: Web, ca: dict[str, FileText]) -> None:
    secure = replace(page(), type=CheckType.HTTPS, tls=replace(NAMED, alpn=("http/1.1",)))
    assert await probe(secure, nginx.tls, files=ca) == good("HTTP 200")
    stranger = await probe(replace(secure, tls=Tls(name="shop.example")), nginx.tls)
    assert stranger.detail.startswith("certificate refused: ")
    h2 = replace(check(CheckType.TLS), tls=replace(NAMED, alpn=("h2",), must_choose=True))
    assert await probe(h2, nginx.tls, files=ca) == good("handshake complete")
    assert await probe(secure, nginx.plain, files=ca) == answered("what it answers is not TLS")


ZONE = """\
$TTL 60
@ SOA ns1 root 7 1h 1h 1h 1h
@ NS ns1
@ MX 10 mail
@ TXT "v=spf1 " "-all"
ns1 A 192.0.2.53
www A 192.0.2.10
www A 192.0.2.11
www AAAA 2001:db8::10
mail A 192.0.2.25
alias CNAME www
_sip._tcp SRV 1 2 5060 www
"""


@pytest.fixture
async def named(folder: Path) -> AsyncIterator[int]:
    many = "".join(f"many A 192.0.2.{n}\n" for n in range(1, 91))
    (folder / "zone").write_text(ZONE + many)
    port = free_port()
    (folder / "conf").write_text(
        f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; '
        f'listen-on-v6 {{ none; }}; pid-file "{folder}/pid"; session-keyfile "{folder}/key"; '
        "recursion no; dnssec-validation no; }; controls { }; "
        f'zone "shop.example" {{ type primary; file "{folder}/zone"; }};'
    )
    async with running(["named", "-g", "-c", folder / "conf"], port, folder):
        # It listens before it has read its zone.
        while (await probe(asked("shop.example", "SOA"), port)).cause is not Cause.GOOD:  # noqa: ASYNC110  # it knows no events
            await asyncio.sleep(0.05)
        yield port


def asked(name: str, record: str, *expect: str, **more: object) -> Check:
    dns = Dns(name, record, expect, **more)  # type: ignore[arg-type]  # by name
    return replace(check(CheckType.DNS), dns=dns)


@pytest.mark.parametrize("transport", list(Transport))
async def test_bind_by_dns(named: int, transport: Transport) -> None:
    for one in (
        asked("www.shop.example", "A", "192.0.2.11", "192.0.2.10", transport=transport),
        asked("www.shop.example", "AAAA", "2001:db8::10", transport=transport),
        asked("shop.example", "MX", "10 mail.shop.example", transport=transport),
        asked("shop.example", "NS", "ns1.shop.example", transport=transport),
        asked("shop.example", "SOA", "ns1.shop.example", transport=transport),
        asked("shop.example", "TXT", "v=spf1 -all", transport=transport),
        asked("alias.shop.example", "CNAME", "www.shop.example", transport=transport),
        asked("_sip._tcp.shop.example", "SRV", "1 2 5060 www.shop.example", transport=transport),
        asked("none.shop.example", "A", rcode="NXDOMAIN", transport=transport),
        asked(".", "SOA", rcode="REFUSED", transport=transport),
    ):
        outcome = await probe(one, named)
        assert outcome.cause is Cause.GOOD, (one.dns, outcome)
    wrong = await probe(asked("ns1.shop.example", "A", "192.0.2.1", transport=transport), named)
    assert wrong == answered("192.0.2.1 is not in the answer: 192.0.2.53")


async def test_what_bind_cuts_off_is_to_be_asked_by_tcp(named: int) -> None:
    # All of them: which ones have room is BIND's choice.
    many = asked("many.shop.example", "A", *(f"192.0.2.{n}" for n in range(1, 91)))
    by_tcp = asked("many.shop.example", "A", "192.0.2.90", transport=Transport.TCP)

    assert await probe(many, named) == answered("answer is cut off: ask by TCP, 'protocol: tcp'")
    assert (await probe(by_tcp, named)).cause is Cause.GOOD


async def test_bind_by_udp(named: int) -> None:
    query = dns_message.question(7, "www.shop.example", "A")
    one = replace(check(CheckType.UDP), udp=Udp(query, r"(?s)\A\x00\x07\x85"))

    assert await probe(one, named) == good("reply matches")
