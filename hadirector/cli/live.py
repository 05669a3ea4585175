"""Verbs that talk to the running daemon over its control socket: status, events, explain, reload,
restart-director."""

import argparse
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from hadirector.cli import tables
from hadirector.core.errors import HadirectorError
from hadirector.shell import alone

SOCKET = "/run/hadirector/control.sock"  # control.sock in the default runtime_dir
DEADLINE = 5.0  # seconds for a question: a director that hangs is replaced in that time
RELOAD_DEADLINE = 130.0  # seconds: a reload reads a configuration of any size
RESTART_DEADLINE = 30.0  # seconds until a new director answers

_NOT_RUNNING = "no daemon answers on {path} ({why}); is it running, and is --socket right?"
_RESTARTS = (
    "no director answers on {path} ({why}), but the daemon runs (process {pid}): a new director "
    "is started, and the election goes on meanwhile; try again in a moment, if --socket is right"
)
_HANGS = (
    "the director does not answer on {path} within {seconds:g} s; one that hangs is replaced in a "
    "few seconds, and the election goes on meanwhile: try again"
)


Run = Callable[[argparse.Namespace], int]


class Unreachable(HadirectorError):
    """The daemon did not answer."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these verbs."""
    status_parser = add_verb(verbs, "status", status, "what this node does now")
    text = "for monitoring: the first line and the troubles only; exit 0 when all is well, else 1"
    status_parser.add_argument("--check", action="store_true", help=text)
    events_parser = add_verb(verbs, "events", events, "what happened, and why")
    events_parser.add_argument("-f", "--follow", action="store_true", help="wait for more")
    explain_parser = add_verb(verbs, "explain", explain, "why something is as it is")
    explain_parser.add_argument("what", nargs="?", default="", metavar="WHAT")
    add_verb(verbs, "reload", _reload, "read the configuration again; exit 1 when it is refused")
    add_verb(verbs, "restart-director", restart_director, "a new director without a failover")


def add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    description: str,
    more: str = "",
) -> argparse.ArgumentParser:
    """A verb that talks to the daemon; `more` goes below its description in the help."""
    parser = verbs.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        epilog=more,
    )
    parser.add_argument("--socket", metavar="PATH", default=SOCKET, help=f"default: {SOCKET}")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_guarded(run))
    return parser


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def guarded(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except Unreachable as error:
            print(f"hadirector: {error}", file=sys.stderr)
            return 1

    return guarded


def status(options: argparse.Namespace) -> int:
    """Print the status; 1 when the daemon does not answer, with --check also for a trouble."""
    _, told = ask(options.socket, "GET", "/v1/status")
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print(tables.check(told) if options.check else tables.status(told))
    return 1 if options.check and told["trouble"] else 0


def events(options: argparse.Namespace) -> int:
    """Print journal entries, with -f until interrupted."""
    if options.follow:
        from hadirector.cli import follow  # it asks by what is here

        for event in follow.events(options.socket):
            print(json.dumps(event) if options.json else tables.event(event), flush=True)
        return 0
    _, told = ask(options.socket, "GET", "/v1/events")
    for event in told:
        print(json.dumps(event) if options.json else tables.event(event))
    return 0


def explain(options: argparse.Namespace) -> int:
    """Print why; 1 when nothing has that name."""
    _, told = ask(options.socket, "GET", f"/v1/explain?what={quote(options.what)}")
    if options.json:
        print(json.dumps(told, indent=2))
    elif "error" not in told:
        print(tables.explanation(told))
    if "error" in told:
        print(f"hadirector: {told['error']}; known: {', '.join(told['known'])}", file=sys.stderr)
        return 1
    return 0


def _reload(options: argparse.Namespace) -> int:
    from hadirector.cli import reload  # it asks by what is here

    return reload.reload(options)


def restart_director(options: argparse.Namespace) -> int:
    """Replace the director process; the election and the kernel go on meanwhile."""
    old = _director(options.socket)
    status = _order(options, "/v1/restart-director", "the director is being replaced")
    deadline = time.monotonic() + RESTART_DEADLINE
    while status == 0 and _director(options.socket) in (0, old):
        if time.monotonic() > deadline:
            raise Unreachable(f"no new director answers on {options.socket} yet; see the log")
        time.sleep(0.1)
    return status


def _director(path: str) -> int:
    """The director's process ID; 0 while none answers."""
    try:
        return int(ask(path, "GET", "/v1/status")[1]["processes"]["director"]["pid"])
    except (Unreachable, KeyError):
        return 0


def _order(options: argparse.Namespace, target: str, done: str) -> int:
    code, told = ask(options.socket, "POST", target, RELOAD_DEADLINE)
    if options.json:
        print(json.dumps(told))
        return 0 if code == 200 else 1
    if code == 200:
        print(done)
        return 0
    print(told.get("error", f"refused ({code})"), file=sys.stderr)
    return 1


def ask(path: str, method: str, target: str, deadline: float = DEADLINE) -> tuple[int, Any]:
    """One question to the daemon at this socket: the HTTP status and the JSON told."""
    status, told = ask_raw(path, method, target, deadline)
    if status == http.client.SERVICE_UNAVAILABLE:
        raise Unreachable(error_of(told))
    try:
        return status, json.loads(told)
    except ValueError as error:
        raise Unreachable(_no_answer(path, error)) from None


def ask_raw(
    path: str, method: str, target: str, deadline: float = DEADLINE, body: bytes | None = None
) -> tuple[int, bytes]:
    """As `ask`, with the answer's bytes; `body` goes along with the question."""
    connection = _UnixConnection(path, deadline)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except PermissionError:
        text = f"{path}: permission denied; be root or in the daemon's group"
        raise Unreachable(text) from None
    except TimeoutError:
        raise Unreachable(_HANGS.format(path=path, seconds=deadline)) from None
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(_no_answer(path, error)) from None
    finally:
        connection.close()


def error_of(told: bytes) -> str:
    """Why the daemon refused something, of the bytes of its answer."""
    try:
        return str(json.loads(told)["error"])
    except (ValueError, KeyError, TypeError):
        return "the daemon refused, and did not say why (is it of another version?)"


def _refusal(answer: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(answer.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"refused ({answer.status})"


def _no_answer(path: str, error: Exception) -> str:
    """Whether there is no daemon, or only no director just now."""
    pid = alone.holder()
    if pid is None:
        return _NOT_RUNNING.format(path=path, why=error)
    return _RESTARTS.format(path=path, why=error, pid=pid)


def stream(path: str, target: str) -> Iterator[Any]:
    """What the daemon at this socket tells by and by, each as JSON, until it leaves."""
    connection = _UnixConnection(path, None)
    try:
        connection.request("GET", target, headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise Unreachable(_refusal(answer))
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(_no_answer(path, error)) from None
    finally:
        connection.close()
