"""Real servers that mean harm, for tests and benches: `python -m labkit.hostile FOLDER` serves each
way of it on a port of its own on every address, and prints the ports as one line of JSON.

A process of its own, so that what it costs is not taken for what it does to a checker.
"""

import contextlib
import gzip
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

GIB = 1 << 30
BLOCK = 256 << 10  # bytes of one send
PAUSE = 0.002  # seconds between the drops of a drip
CHAIN = 120  # certificates of a chain

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
BOMB = gzip.compress(bytes(64 << 20), 9)

Serve = Callable[[socket.socket], None]


def drip(sock: socket.socket) -> None:
    """An answer a byte at a time."""
    _drip(sock, HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)


def endless_head(sock: socket.socket) -> None:
    """Header fields without end."""
    sock.sendall(HEAD)
    _forever(sock, b"X-More: of the same\r\n" * 5000)


def huge_body(sock: socket.socket) -> None:
    """A body of 1 GiB, as fast as it goes."""
    sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % GIB)
    _forever(sock, b"x" * BLOCK)


def chunked_body(sock: socket.socket) -> None:
    """Chunks of one byte without end."""
    sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    _forever(sock, b"1\r\nx\r\n" * 20_000)


def gzip_bomb(sock: socket.socket) -> None:
    """64 KB that would be 64 MB."""
    size = b"Content-Length: %d\r\n\r\n" % len(BOMB)
    sock.sendall(HEAD + b"Content-Encoding: gzip\r\n" + size + BOMB)


def deep_json(sock: socket.socket) -> None:
    """200,000 brackets."""
    sock.sendall(HEAD + b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000)


def evil_text(sock: socket.socket) -> None:
    """What a pattern with nested repeats needs ages for."""
    sock.sendall(HEAD + b"Content-Length: 4000\r\n\r\n" + b"a" * 4000)


def banner(sock: socket.socket) -> None:
    """A greeting without an end of its line."""
    _forever(sock, b"x" * BLOCK)


def lines(sock: socket.socket) -> None:
    """A lawful greeting whose last line never comes."""
    _forever(sock, b"220-and more\r\n" * 10_000)


def dropped_lines(sock: socket.socket) -> None:
    """The same, a byte at a time."""
    _drip(sock, b"220-and more\r\n" * 100_000)


def garbage(sock: socket.socket) -> None:
    """Random bytes where TLS should be."""
    _forever(sock, os.urandom(BLOCK))


def alerts(sock: socket.socket) -> None:
    """TLS warnings without end."""
    _forever(sock, b"\x15\x03\x03\x00\x02\x01\x5a" * 10_000)


def reads_nothing(sock: socket.socket) -> None:
    """Not a byte, in either direction."""
    time.sleep(3600)


def _forever(sock: socket.socket, block: bytes) -> None:
    while True:
        sock.sendall(block)


def _drip(sock: socket.socket, text: bytes) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in text:
        sock.send(bytes((byte,)))
        time.sleep(PAUSE)


def _inside(context: ssl.SSLContext, serve: Callable[[ssl.SSLSocket], None]) -> Serve:
    def secured(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as inner:
            serve(inner)

    return secured


def _tls_body(sock: ssl.SSLSocket) -> None:
    sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % GIB)
    while True:
        sock.sendall(b"x" * BLOCK)


def _tls_drops(sock: ssl.SSLSocket) -> None:
    while True:
        sock.sendall(b"x")  # a record of 22 bytes for each


def _contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One like any other, and one with a chain that is too long."""
    key, plain, long = (folder / name for name in ("hostile.key", "hostile.pem", "chain.pem"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hostile"),
            *("-days", "3", "-keyout", str(key), "-out", str(plain)),
        ],
        check=True,
        capture_output=True,
    )
    long.write_text(plain.read_text() * CHAIN)
    found = []
    for certificate in (plain, long):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        found.append(context)
    return found[0], found[1]


def ways(folder: Path) -> dict[str, Serve]:
    """Every way by its name."""
    plain, long = _contexts(folder)
    return {
        "drip": drip,
        "endless head": endless_head,
        "huge body": huge_body,
        "chunked body": chunked_body,
        "gzip bomb": gzip_bomb,
        "deep json": deep_json,
        "evil text": evil_text,
        "banner": banner,
        "lines": lines,
        "dropped lines": dropped_lines,
        "tls garbage": garbage,
        "tls alerts": alerts,
        "tls chain": _inside(long, _tls_body),
        "tls body": _inside(plain, _tls_body),
        "tls drops": _inside(plain, _tls_drops),
        "silence": reads_nothing,
    }


def _accept(listener: socket.socket, serve: Serve) -> None:
    def one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            serve(sock)

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=one, args=(sock,), daemon=True).start()


def main() -> None:
    """Serve until standard input ends."""
    ports = {}
    for name, serve in ways(Path(sys.argv[1])).items():
        listener = socket.create_server(("0.0.0.0", 0), backlog=1024)
        ports[name] = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(listener, serve), daemon=True).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
