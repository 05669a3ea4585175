"""A certificate authority in a directory, by the openssl program: for servers in tests."""

import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

DAY = 86400

_CONFIG = """\
[ca]
default_ca = test
[test]
database = index
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[server]
subjectAltName = {names}
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """`file` is its own certificate: whom to trust."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    @classmethod
    def made(cls, folder: Path) -> "Authority":
        folder.mkdir(exist_ok=True)
        (folder / "index").touch()
        _key(folder, "ca")
        _openssl(
            folder,
            *("req", "-x509", "-key", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test authority"),
            *("-days", "3650"),
        )
        return cls(folder)

    def certificate(
        self,
        name: str,
        names: str = "DNS:shop.example",
        *,
        begins: float = -DAY,
        ends: float = 365 * DAY,
    ) -> tuple[Path, Path]:
        """A server's certificate and its key; valid from and to, in seconds from now."""
        folder = self.folder
        (folder / "ca.cnf").write_text(_CONFIG.format(names=names))
        _key(folder, name)
        _openssl(
            folder,
            *("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"),
        )
        _openssl(
            folder,
            *("ca", "-batch", "-config", "ca.cnf", "-extensions", "server", "-notext"),
            *("-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.pem"),
            *("-startdate", _time(begins), "-enddate", _time(ends)),
        )
        return folder / f"{name}.pem", folder / f"{name}.key"

    def context(self, name: str, *alpn: str, **certificate: float | str) -> ssl.SSLContext:
        """What a server of that certificate speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(name, **certificate))  # type: ignore[arg-type]  # by its keywords
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def der(path: Path) -> bytes:
    """A certificate's bytes."""
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def _key(folder: Path, name: str) -> None:
    _openssl(folder, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{name}.key")


def _time(seconds: float) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
