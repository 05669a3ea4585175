"""The presets ldap, mysql, pgsql, redis, sip and radius against OpenLDAP, MariaDB, PostgreSQL,
Redis, Kamailio and FreeRADIUS."""

import glob
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType
from hadirector.core.settings.questions import Dialogue, Preset, Transport
from tests.real_servers.daemons import command, free_port, running
from tests.shell.probing import answered, check, good, probe


def asks(preset: Preset, auth_file: str | None = None, **more: object) -> Check:
    made = Dialogue(preset=preset, **more)  # type: ignore[arg-type]  # by name
    return replace(check(CheckType.EXPECT, 15.0), dialogue=made, auth_file=auth_file)


def owned(folder: Path, user: str) -> None:
    owner = pwd.getpwnam(user)
    os.chown(folder, owner.pw_uid, owner.pw_gid)


async def test_openldap_by_ldap(folder: Path) -> None:
    port = free_port()
    (folder / "db").mkdir()
    (folder / "conf").write_text(
        "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        f"pidfile {folder}/pid\ndatabase mdb\nsuffix dc=shop,dc=example\ndirectory {folder}/db\n"
        "rootdn cn=admin,dc=shop,dc=example\nrootpw s3cret\n"
    )
    (folder / "entries").write_text(
        "dn: dc=shop,dc=example\nobjectClass: dcObject\nobjectClass: organization\n"
        "dc: shop\no: shop\n"
    )
    command(["slapadd", "-f", folder / "conf", "-l", folder / "entries"])
    dn = "cn=admin,dc=shop,dc=example"
    files = {"/auth": FileText(f"{dn}:s3cret".encode()), "/bad": FileText(f"{dn}:x".encode())}
    name = "dc=shop,dc=example"
    argv = ["slapd", "-h", f"ldap://127.0.0.1:{port}/", "-f", folder / "conf", "-d", "0"]
    async with running(argv, port, folder):
        well = good("bind and search well")
        assert await probe(asks(Preset.LDAP), port) == well
        assert await probe(asks(Preset.LDAP, "/auth", name=name), port, files=files) == well
        wrong = await probe(asks(Preset.LDAP, "/bad"), port, files=files)
        nothing = await probe(asks(Preset.LDAP, name="dc=none"), port)

    assert wrong == answered("bind refused, result 49")
    assert nothing.detail.startswith("search refused, result 32")


async def test_mariadb_by_mysql(folder: Path) -> None:
    port, data = free_port(), folder / "data"
    data.mkdir()
    owned(folder, "mysql")
    owned(data, "mysql")
    command(["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=mysql"])
    init = folder / "init"
    init.write_text(
        "CREATE USER probe@localhost IDENTIFIED BY 's3cret';\n"
        "CREATE USER free@localhost IDENTIFIED BY '';\nDROP USER IF EXISTS ''@localhost;\n"
    )
    files = {"/auth": FileText(b"probe:s3cret"), "/bad": FileText(b"probe:x")}
    argv = [
        *("mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}"),
        *("--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--init-file={init}"),
        *("--max-connect-errors=3", "--innodb-buffer-pool-size=16M"),
    ]
    async with running(argv, port, folder, user="mysql"):
        for _ in range(5):  # more than the server lets pass of what ends in the middle
            outcome = await probe(asks(Preset.MYSQL), port)
            assert outcome.cause is Cause.GOOD, outcome
            assert outcome.detail.endswith("asks for a password")
        login = await probe(asks(Preset.MYSQL, "/auth"), port, files=files)
        free = await probe(asks(Preset.MYSQL, user="free"), port)
        wrong = await probe(asks(Preset.MYSQL, "/bad"), port, files=files)

    assert login.cause is free.cause is Cause.GOOD
    assert login.detail.endswith("login well")
    assert wrong.detail.startswith("error 1045: ")


@pytest.fixture
async def postgres(folder: Path) -> AsyncIterator[int]:
    port, data = free_port(), folder / "data"
    data.mkdir()
    owned(folder, "postgres")
    owned(data, "postgres")
    programs = newest("/usr/lib/postgresql/*/bin")
    command([programs / "initdb", "-D", data, "-A", "trust", "-U", "probe"], user="postgres")
    (data / "pg_hba.conf").write_text(
        "host all probe 127.0.0.1/32 trust\nhost all secret 127.0.0.1/32 scram-sha-256\n"
    )
    argv = [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder]
    async with running(argv, port, folder, user="postgres"):
        yield port


async def test_postgresql_by_pgsql(postgres: int) -> None:
    stranger = await settled(asks(Preset.PGSQL), postgres)
    known = await probe(asks(Preset.PGSQL, user="probe", name="postgres"), postgres)
    asked = await probe(asks(Preset.PGSQL, user="secret", name="postgres"), postgres)
    nowhere = await probe(asks(Preset.PGSQL, user="probe", name="none"), postgres)

    assert stranger.detail.startswith("answers 28000: ")
    assert known == good("session of probe begins well")
    assert asked == good("asks secret for a password")
    assert nowhere.detail.startswith("error 3D000: ")
    assert stranger.cause is Cause.GOOD


def newest(pattern: str) -> Path:
    return Path(max(glob.glob(pattern)))


async def settled(one: Check, port: int) -> Outcome:
    """A probe of a server that listens before it serves: what it says meanwhile is a failure."""
    while "57P03" in (outcome := await probe(one, port)).detail:
        assert outcome.cause is Cause.ANSWERED
    return outcome


async def test_redis_by_redis(folder: Path) -> None:
    port = free_port()
    (folder / "open").write_text(f"port {port}\nbind 127.0.0.1\nsave ''\n".replace("'", '"'))
    closed = "include open\nrequirepass s3cret\nuser probe on >pw +ping\n"
    (folder / "closed").write_text(closed)
    files = {
        "/auth": FileText(b"default:s3cret"),
        "/bad": FileText(b"default:x"),
        "/user": FileText(b"probe:pw"),
    }
    async with running(["redis-server", folder / "open"], port, folder):
        assert await probe(asks(Preset.REDIS), port) == good("PONG")
    async with running(["redis-server", folder / "closed"], port, folder):
        silent = await probe(asks(Preset.REDIS), port)
        assert await probe(asks(Preset.REDIS, "/auth"), port, files=files) == good("PONG")
        assert await probe(asks(Preset.REDIS, "/user"), port, files=files) == good("PONG")
        wrong = await probe(asks(Preset.REDIS, "/bad"), port, files=files)

    assert silent == answered("wants a password before PING: add 'auth_file'")
    assert wrong.detail.startswith("reply to AUTH is '-WRONGPASS ")


KAMAILIO = """\
#!KAMAILIO
debug=0
log_stderror=yes
children=1
tcp_children=1
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "pv.so"
request_route {{
  if (is_method("OPTIONS")) {{
    if ($rU == "gone") sl_send_reply("404", "Not here"); else sl_send_reply("200", "OK");
    exit;
  }}
}}
"""


async def test_kamailio_by_sip(folder: Path) -> None:
    port = free_port()
    (folder / "conf").write_text(KAMAILIO.format(port=port))
    argv = ["kamailio", "-f", folder / "conf", "-DD", "-E", "-m", "16", "-M", "4", "-Y", folder]
    async with running(argv, port, folder):
        for transport in Transport:
            one = asks(Preset.SIP, transport=transport)
            assert await probe(one, port) == good("SIP 200")
            gone = asks(Preset.SIP, transport=transport, name="gone")
            assert await probe(gone, port) == answered("SIP 404 'Not here', expected 2xx")


RADIUS = """\
prefix = /usr
libdir = /usr/lib/freeradius
logdir = {folder}
run_dir = {folder}
pidfile = {folder}/pid
max_requests = 64
log {{ destination = stdout }}
security {{ user = root
 group = root
 allow_core_dumps = no
 max_attributes = 200
 reject_delay = 0
 status_server = yes }}
client lab {{ ipaddr = 127.0.0.1
 secret = "radius key" }}
modules {{
  pap {{ }}
  files {{ filename = {folder}/users }}
}}
server lab {{
  listen {{ type = auth
   ipaddr = 127.0.0.1
   port = {port} }}
  authorize {{
    files
    pap
  }}
  authenticate {{
    pap
  }}
}}
"""


async def test_freeradius_by_radius(folder: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    (folder / "radiusd.conf").write_text(RADIUS.format(folder=folder, port=port))
    (folder / "users").write_text('probe Cleartext-Password := "s3cret"\n')
    shutil.copy("/etc/freeradius/3.0/dictionary", folder / "dictionary")
    files = {
        "/key": FileText(b"radius key\n"),
        "/other": FileText(b"another key\n"),
        "/auth": FileText(b"probe:s3cret"),
        "/bad": FileText(b"probe:a password of more than sixteen letters"),
    }

    def radius(auth_file: str | None = None, secret_file: str = "/key") -> Check:
        by_udp = Transport.UDP
        return asks(Preset.RADIUS, auth_file, transport=by_udp, secret_file=secret_file)

    argv = ["freeradius", "-f", "-l", "stdout", "-d", folder, "-n", "radiusd"]
    async with running(argv, port, folder, udp=True):
        status = await probe(radius(), port, files=files)
        login = await probe(radius("/auth"), port, files=files)
        wrong = await probe(radius("/bad"), port, files=files)
        other = replace(radius(secret_file="/other"), timeout=0.5)
        unknown = await probe(other, port, files=files)

    assert status == login == good("Access-Accept")
    assert wrong == answered("Access-Reject, expected Access-Accept")
    assert unknown.cause is Cause.SILENT
