"""A whole daemon that checks by https: what its files hold reaches the checker, which may read none
of them, and what the checker sees reaches status."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.shell.authority import DAY, Authority

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

CONFIG = """
nodes:
  lb1: {{priority: 150}}
checks:
  page:
    type: https
    host: shop.example
    ca_file: {folder}/private/ca.pem
    auth_file: {folder}/private/auth
    json: {{status: ok}}
    interval: 300ms
    timeout: 250ms
    rise: 1
virtual_services:
  web:
    address: 192.0.2.10:443
    scheduler: rr
    check: page
    real_servers: [127.0.0.11:8443]
"""


class Page(BaseHTTPRequestHandler):
    """Says that all is well to who knows the password."""

    def do_GET(self) -> None:  # the library's name
        known = self.headers["Authorization"] == "Basic cHJvYmU6czNjcmV0"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def log_message(self, *_: object) -> None:
        """Not on the tests' output."""


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.11", 8443), Page)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


def state(daemon: Daemon) -> str:
    """All that status says, as text."""
    return str(daemon.ask())


def test_https_with_a_password_and_a_certificate_that_ends_soon(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path / "authority")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)  # nobody but root: the checker is nobody
    (private / "ca.pem").write_bytes(authority.file.read_bytes())
    auth = private / "auth"
    with fresh_namespace():
        run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
        with (
            serving(authority.context("server", ends=5.5 * DAY)),
            Daemon(tmp_path, CONFIG.format(folder=tmp_path)) as daemon,
        ):
            until("the missing file is told", lambda: f"{auth}: No such file" in state(daemon))
            until("the checker says so", lambda: f"{auth} was not read" in state(daemon))
            assert "-w 1" not in run("ipvsadm", "-S", "-n")

            auth.write_text("probe:s3cret\n")
            auth.chmod(0o640)
            assert daemon.run("reload").returncode == 0
            until("the server has weight", lambda: "-w 1" in run("ipvsadm", "-S", "-n"))

            told = "page@127.0.0.11:8443: certificate expires in 5 days"
            until("status warns", lambda: told in state(daemon))
            assert "HTTP 200, JSON as expected; certificate expires in 5 days" in state(daemon)
            assert "s3cret" not in state(daemon)
            assert "s3cret" not in daemon.run("events").stdout
