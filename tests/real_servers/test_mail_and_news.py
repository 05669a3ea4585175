"""smtp against Postfix; presets ftp, imap, pop, nntp against vsftpd, Dovecot and leafnode."""

import asyncio
import contextlib
import os
import pwd
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause
from hadirector.core.settings.checks import Check, CheckType
from hadirector.core.settings.questions import Dialogue, Preset, Smtp, Tls
from tests.real_servers.daemons import command, free_port, running
from tests.shell.authority import Authority
from tests.shell.probing import answered, check, good, probe

FILES = {"/auth": FileText(b"probe:s3cret\n"), "/bad": FileText(b"probe:wrong\n")}
NAMED = Tls(name="shop.example", ca_file="/ca")
LOGIN = good("greeting and login well")


def asks(preset: Preset, auth_file: str | None = None) -> Check:
    return replace(
        check(CheckType.EXPECT, 15.0), dialogue=Dialogue(preset=preset), auth_file=auth_file
    )


MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.shop.example
mydestination =
alias_maps =
local_recipient_maps =
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
smtpd_tls_cert_file = {folder}/chain.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_security_level = may
smtpd_peername_lookup = no
"""
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{tls} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
proxymap unix - - n - - proxymap
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


@pytest.fixture
async def postfix(folder: Path, authority: Authority) -> AsyncIterator[tuple[int, int]]:
    port, tls = free_port(), free_port()
    certificate, key = authority.certificate("postfix")
    (folder / "chain.pem").write_bytes(certificate.read_bytes())
    (folder / "key.pem").write_bytes(key.read_bytes())
    for name in ("spool", "data"):
        (folder / name).mkdir()
    owner = pwd.getpwnam("postfix")
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    (folder / "main.cf").write_text(MAIN.format(folder=folder))
    (folder / "master.cf").write_text(MASTER.format(port=port, tls=tls))
    try:
        async with running(["postfix", "-c", folder, "start-fg"], port, folder):
            yield port, tls
    finally:
        with contextlib.suppress(AssertionError):
            command(["postfix", "-c", folder, "abort"])


async def test_postfix_by_smtp(postfix: tuple[int, int], ca: dict[str, FileText]) -> None:
    port, tls = postfix
    plain = replace(check(CheckType.SMTP, 15.0), smtp=Smtp("lb1.example"))
    starttls = replace(plain, tls=replace(NAMED, starttls=True))

    assert await probe(plain, port) == good("greeting and EHLO well")
    assert await probe(starttls, port, files=ca) == good("greeting, STARTTLS and EHLO well")
    assert await probe(replace(plain, tls=NAMED), tls, files=ca) == good("greeting and EHLO well")
    other = replace(starttls, tls=replace(NAMED, starttls=True, name="x.example"))
    assert (await probe(other, port, files=ca)).detail.startswith("certificate refused: hostname")


@pytest.fixture
async def vsftpd(folder: Path) -> AsyncIterator[int]:
    port = free_port()
    (folder / "files").mkdir()
    (folder / "conf").write_text(
        f"listen=YES\nlisten_ipv6=NO\nlisten_address=127.0.0.1\nlisten_port={port}\n"
        "background=NO\nanonymous_enable=YES\nlocal_enable=NO\nseccomp_sandbox=NO\n"
        f"anon_root={folder}/files\nsecure_chroot_dir={folder}/files\nxferlog_enable=NO\n"
    )
    async with running(["vsftpd", folder / "conf"], port, folder):
        yield port


async def test_vsftpd_by_ftp(vsftpd: int) -> None:
    files = {"/anonymous": FileText(b"anonymous:a@example\n"), **FILES}

    assert await probe(asks(Preset.FTP), vsftpd) == good("greeting well")
    assert await probe(asks(Preset.FTP, "/anonymous"), vsftpd, files=files) == LOGIN
    refused = await probe(asks(Preset.FTP, "/bad"), vsftpd, files=files)
    assert refused.cause is Cause.ANSWERED
    assert "'530 " in refused.detail


DOVECOT = """\
protocols = imap pop3
listen = 127.0.0.1
base_dir = {folder}/run
log_path = /dev/stderr
ssl = yes
ssl_cert = <{folder}/chain.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{folder}/mail
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = static
  args = password=s3cret
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail
}}
"""


@pytest.fixture
async def dovecot(folder: Path, authority: Authority) -> AsyncIterator[tuple[int, int, int]]:
    imap, imaps, pop = free_port(), free_port(), free_port()
    certificate, key = authority.certificate("dovecot")
    (folder / "chain.pem").write_bytes(certificate.read_bytes())
    (folder / "key.pem").write_bytes(key.read_bytes())
    (folder / "mail").mkdir()
    owner = pwd.getpwnam("mail")
    os.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
    text = DOVECOT.format(folder=folder, imap=imap, imaps=imaps, pop=pop)
    (folder / "conf").write_text(text)
    async with running(["dovecot", "-F", "-c", folder / "conf"], pop, folder):
        yield imap, imaps, pop


async def test_dovecot_by_imap_and_pop(
    dovecot: tuple[int, int, int], ca: dict[str, FileText]
) -> None:
    imap, imaps, pop = dovecot

    for preset, port in ((Preset.IMAP, imap), (Preset.POP, pop)):
        assert await probe(asks(preset), port) == good("greeting well")
        assert await probe(asks(preset, "/auth"), port, files=FILES) == LOGIN
        refused = await probe(asks(preset, "/bad"), port, files=FILES)
        assert refused.cause is Cause.ANSWERED, refused
    secure = replace(asks(Preset.IMAP, "/auth"), tls=NAMED)
    assert await probe(secure, imaps, files={**FILES, **ca}) == LOGIN


@contextlib.asynccontextmanager
async def inetd(command: str, user: str, host: str) -> AsyncIterator[int]:
    """A program for each connection, which is its standard input and output; it takes the machine
    for `host`."""
    drop = f"setpriv --reuid={user} --regid={user} --clear-groups"
    argv = ("unshare", "--uts", "sh", "-c", f"hostname {host}; exec {drop} {command}")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock: socket.socket = writer.get_extra_info("socket")
        with contextlib.closing(sock.dup()) as connection:
            connection.setblocking(True)
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=connection.fileno(),
                stdout=connection.fileno(),
            )
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's
            await process.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_leafnode_by_nntp(folder: Path) -> None:
    (folder / "conf").write_text("server = news.example\nexpire = 20\n")
    command = f"/usr/sbin/leafnode -F {folder}/conf"
    # It wants a name of the world's, and knows those of the examples.
    async with inetd(command, "news", "news.hadirector.org") as port:
        assert await probe(asks(Preset.NNTP), port) == good("greeting well")
        refused = await probe(asks(Preset.NNTP, "/bad"), port, files=FILES)

    assert refused.cause is Cause.ANSWERED


async def test_a_server_that_is_gone_is_refused() -> None:
    outcome = await probe(asks(Preset.FTP), free_port())

    assert outcome.cause is Cause.REFUSED
    assert answered("refused").detail == outcome.detail
