"""TLS: who may pass for the server, and what is said of those who may not."""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hadirector.core.address import Endpoint, canonical
from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.core.settings.questions import Tls
from hadirector.shell.probes import base, certificate, http
from hadirector.shell.probes.search import Search
from hadirector.shell.probes.tls import Secured, Wrap
from hadirector.shell.probes.tls_contexts import Contexts
from tests.shell.authority import DAY, Authority, der
from tests.shell.probing import answered, check, good, probe, says, serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
CA = "/etc/hadirector/ca.pem"
NAMED = Tls(name="shop.example", ca_file=CA)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def files(authority: Authority) -> dict[str, FileText]:
    return {CA: FileText(authority.file.read_bytes())}


def https(tls: Tls = NAMED) -> Check:
    return replace(check(CheckType.HTTPS), tls=replace(tls, alpn=("http/1.1",)), path="/healthz")


def tls(tls: Tls = NAMED) -> Check:
    return replace(check(CheckType.TLS), tls=tls)


async def test_a_certificate_of_the_named_authority_for_the_named_host_passes(
    authority: Authority, files: dict[str, FileText]
) -> None:
    async with serving(says(ANSWER), secure=authority.context("good")) as port:
        assert await probe(https(), port, files=files) == good("HTTP 200")
        assert await probe(tls(), port, files=files) == good("handshake complete")


@pytest.mark.parametrize(
    ("settings", "names", "detail"),
    [
        (
            replace(NAMED, name="other.example"),
            "DNS:shop.example",
            "certificate refused: hostname mismatch, certificate is not valid for 'other.example'",
        ),
        (
            replace(NAMED, name=None),
            "DNS:shop.example",
            "certificate refused: iP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
        (
            replace(NAMED, ca_file=None),
            "DNS:shop.example",
            "certificate refused: unable to get local issuer certificate",
        ),
    ],
    ids=["another name", "no name, and not its address", "an unknown authority"],
)
async def test_a_certificate_that_is_not_the_servers_is_refused(
    authority: Authority, files: dict[str, FileText], settings: Tls, names: str, detail: str
) -> None:
    async with serving(says(ANSWER), secure=authority.context("wrong", names=names)) as port:
        outcome = await probe(https(settings), port, files=files)
        unverified = await probe(https(Tls(verify=False, name="other.example")), port)

    assert outcome.cause is Cause.ANSWERED
    assert outcome.detail.lower() == detail.lower()
    assert unverified == good("HTTP 200")


async def test_without_a_name_the_certificate_must_have_the_address(
    authority: Authority, files: dict[str, FileText]
) -> None:
    by_address = authority.context("address", names="IP:127.0.0.1")
    async with serving(says(ANSWER), secure=by_address) as port:
        assert await probe(https(Tls(ca_file=CA)), port, files=files) == good("HTTP 200")


@pytest.mark.parametrize(
    ("begins", "ends", "detail"),
    [
        (-90 * DAY, -3.5 * DAY, "certificate expired 3 days ago"),
        (-90 * DAY, -60, "certificate expired less than a day ago"),
        (1.5 * DAY, 90 * DAY, "certificate is not valid yet: it will be in 1 day"),
    ],
)
async def test_a_certificate_out_of_its_time_is_told_with_the_days(
    authority: Authority, files: dict[str, FileText], begins: float, ends: float, detail: str
) -> None:
    secure = authority.context("times", begins=begins, ends=ends)
    async with serving(says(ANSWER), secure=secure) as port:
        assert await probe(https(), port, files=files) == answered(detail)
        assert await probe(tls(), port, files=files) == answered(detail)


async def test_a_certificate_that_ends_soon_passes_with_a_warning(
    authority: Authority, files: dict[str, FileText]
) -> None:
    soon = "certificate expires in 5 days"
    secure = authority.context("soon", ends=5.5 * DAY)
    async with serving(says(ANSWER), secure=secure) as port:
        told = await probe(https(), port, files=files)
        quiet = await probe(https(replace(NAMED, warn_days=5)), port, files=files)

    assert told == Outcome(Cause.GOOD, f"HTTP 200; {soon}", soon)
    assert quiet == good("HTTP 200")


async def test_an_expired_certificate_that_nobody_verifies_is_warned_of(
    authority: Authority,
) -> None:
    secure = authority.context("old", begins=-90 * DAY, ends=-3.5 * DAY)
    async with serving(says(ANSWER), secure=secure) as port:
        outcome = await probe(tls(Tls(verify=False)), port)

    assert outcome.cause is Cause.GOOD
    assert outcome.warning == "certificate expired 3 days ago"


async def test_with_alpn_the_server_has_to_choose(
    authority: Authority, files: dict[str, FileText]
) -> None:
    asks = tls(replace(NAMED, alpn=("h2",), must_choose=True))
    async with serving(says(ANSWER), secure=authority.context("h2", "h2")) as port:
        assert await probe(asks, port, files=files) == good("handshake complete")
    async with serving(says(ANSWER), secure=authority.context("none")) as port:
        outcome = await probe(asks, port, files=files)

    assert outcome == answered("TLS: the server speaks none of h2 (ALPN)")


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "what it answers is not TLS"),
        (b"\x00\xff" * 900, "what it answers is not TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "TLS failed: sslv3 alert handshake failure"),
        (b"", "closed in the TLS handshake"),
    ],
)
async def test_what_is_no_tls_is_told_as_that(said: bytes, detail: str) -> None:
    async with serving(says(said)) as port:
        assert await probe(https(Tls(verify=False)), port) == answered(detail)


async def test_authorities_that_were_not_read_say_nothing_of_the_server(
    authority: Authority,
) -> None:
    async with serving(says(ANSWER), secure=authority.context("unread")) as port:
        unread = await probe(https(), port)
        wrong = await probe(https(), port, files={CA: FileText(b"no certificate")})

    assert unread.cause is wrong.cause is Cause.OURS
    assert unread.detail == f"{CA} was not read: mend that, then 'hadirector reload'"
    assert wrong.detail.startswith(f"{CA}: no certificates to trust: ")


async def test_the_server_is_told_that_the_connection_ends(authority: Authority) -> None:
    ended: asyncio.Future[bytes | Exception] = asyncio.get_running_loop().create_future()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ended.set_result(await reader.read())
        except (OSError, ssl.SSLError) as error:
            ended.set_result(error)

    async with serving(watch, secure=authority.context("end")) as port:
        await probe(tls(Tls(verify=False)), port)
        async with asyncio.timeout(5):
            assert await ended == b""


def test_validity_is_what_openssl_says(authority: Authority) -> None:
    path, _ = authority.certificate("dates", begins=-100, ends=5000)
    known = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]  # an oracle

    assert certificate.validity(der(path)) == (
        ssl.cert_time_to_seconds(known["notBefore"]),
        ssl.cert_time_to_seconds(known["notAfter"]),
    )


@given(st.binary(max_size=200), st.integers(0, 600), st.binary(max_size=4))
def test_no_bytes_make_the_parser_of_certificates_fail_in_another_way(
    noise: bytes, at: int, patch: bytes
) -> None:
    lawful = der(Path(__file__).with_name("certificate.pem"))
    for raw in (noise, lawful[:at], lawful[:at] + patch + lawful[at + len(patch) :]):
        try:
            before, after = certificate.validity(raw)
        except ValueError:
            continue
        assert isinstance(before, int)
        assert isinstance(after, int)


def sides(authority: Authority) -> tuple[Secured, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A conversation inside TLS, and a server's end of it with what it reads and writes."""
    contexts = Contexts({})
    unverified = Tls(verify=False)
    wrap = Wrap(contexts.bare(unverified), unverified, "127.0.0.1", lambda: Outcome(Cause.OURS, ""))
    page = Target("t", https(), Endpoint(canonical("127.0.0.1"), 443))
    ours = Secured(http.Talk(page, Search()), wrap)
    reads, writes = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = authority.context("sides").wrap_bio(reads, writes, server_side=True)
    return ours, theirs, reads, writes


def shaken(
    ours: Secured, theirs: ssl.SSLObject, reads: ssl.MemoryBIO, writes: ssl.MemoryBIO
) -> None:
    said = ours.opened()
    for _ in range(4):
        assert isinstance(said, bytes)
        reads.write(said)
        with suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
            return
        said = ours.received(writes.read())


@settings(max_examples=60)
@given(noise=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
def test_no_bytes_make_tls_fail_in_another_way(authority: Authority, noise: list[bytes]) -> None:
    first, _, _, _ = sides(authority)
    first.opened()
    second, theirs, reads, writes = sides(authority)
    shaken(second, theirs, reads, writes)
    for one in (first, second):
        for data in noise:
            reply = one.received(data)
            if reply is not None and not isinstance(reply, bytes):
                assert isinstance(reply, Outcome | base.Parting)
                break
        assert isinstance(one.closed(), Outcome)


def test_an_answer_that_ends_with_the_connection_is_whole_with_or_without_a_word_of_it(
    authority: Authority,
) -> None:
    for parting in (True, False):
        ours, theirs, reads, writes = sides(authority)
        shaken(ours, theirs, reads, writes)
        assert theirs.read(4096).startswith(b"GET /healthz ")
        theirs.write(b"HTTP/1.0 200 OK\r\n\r\nall is well")
        if parting:
            with suppress(ssl.SSLWantReadError):
                theirs.unwrap()
        reply = ours.received(writes.read())
        if not parting:
            assert reply is None or isinstance(reply, bytes)
            reply = ours.closed()
        found = reply.outcome if isinstance(reply, base.Parting) else reply
        assert isinstance(found, Outcome)
        assert found.detail == "HTTP 200"
