"""Check type http: one request, the whole answer, its status and its body.

Our own reader of HTTP/1.x answers (RFC 9112), because a check needs little of it and must bear
anything: what is over a bound or not lawful is a sentence in the verdict, never an exception.

Redirections are answers like others: a check that wants them followed asks the other place itself.

    head (status line, fields; 1xx skipped) -> body (length, chunked, until close, none) -> verdict
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from hadirector.core import address
from hadirector.core.address import Endpoint
from hadirector.core.duration import spell
from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, StatusRange, Target
from hadirector.shell.probes import base, credentials, json_text
from hadirector.shell.probes.chunks import Chunks
from hadirector.shell.probes.search import LIMIT, Search, SearchTooLongError
from hadirector.shell.probes.tls import Wrap

HEAD_BOUND = 16 << 10  # bytes of status line and fields, interim answers included
BODY_BOUND = 256 << 10  # bytes of body read and searched; the rest is not waited for
LENGTH_DIGITS = 18  # of a Content-Length: an exabyte is enough

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")
_PREFIX = b"HTTP/1."


def starter(
    search: Search, files: Mapping[str, FileText]
) -> Callable[[Target], base.Conversation | Outcome]:
    """Makes the conversation of each probe; they share the search and what files hold."""

    def begin(target: Target) -> base.Conversation | Outcome:
        file = target.check.auth_file
        pair = credentials.read(file, files) if file else None
        return pair if isinstance(pair, Outcome) else Talk(target, search, pair)

    return begin


def secured(
    search: Search, files: Mapping[str, FileText]
) -> Callable[[Target, Wrap], base.Conversation | Outcome]:
    """The same inside TLS."""
    begin = starter(search, files)

    def make(target: Target, wrap: Wrap) -> base.Conversation | Outcome:
        talk = begin(target)
        return talk if isinstance(talk, Outcome) else wrap(talk)

    return make


def request(check: Check, endpoint: Endpoint, pair: credentials.Credentials | None = None) -> bytes:
    """The bytes to send. The configured fields come last and replace ours."""
    fields = {
        "host": ("Host", check.host or _host(endpoint, 80 if check.tls is None else 443)),
        "user-agent": ("User-Agent", "hadirector"),
        "accept": ("Accept", "*/*"),
        "accept-encoding": ("Accept-Encoding", "identity"),
        "connection": ("Connection", "close"),
    }
    body = check.send.encode("utf-8", "surrogateescape")
    if body or check.method in ("POST", "PUT", "PATCH"):
        fields["content-length"] = ("Content-Length", str(len(body)))
    if pair is not None:
        fields["authorization"] = ("Authorization", pair.basic())
    fields |= {name.lower(): (name, value) for name, value in check.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.values())
    head = f"{check.method} {check.path} HTTP/1.1\r\n{lines}\r\n"
    return head.encode("utf-8", "surrogateescape") + body


class Talk:
    """One request and its answer."""

    __slots__ = (
        "_body",
        "_check",
        "_chunks",
        "_coding",
        "_head",
        "_interim",
        "_pair",
        "_search",
        "_size",
        "_status",
        "_target",
        "_wanted",
    )

    def __init__(
        self, target: Target, search: Search, pair: credentials.Credentials | None = None
    ) -> None:
        self._target = target
        self._check = target.check
        self._pair = pair
        self._search = search
        self._coding = b""  # of the body, where one was put upon it unasked
        self._head: bytearray | None = bytearray()  # None: read
        self._interim = 0  # bytes of 1xx heads read before it
        self._status = 0
        self._wanted: int | None = None  # bytes of body; None: chunked, or until close
        self._chunks: Chunks | None = None
        self._size = 0  # bytes of body so far
        self._body = bytearray()  # kept only where it is to be searched

    def opened(self) -> base.Reply:
        return request(self._check, self._target.at, self._pair)

    def received(self, data: bytes) -> base.Reply:
        try:
            return self._take_head(data) if self._head is not None else self._take_body(data)
        except ValueError as error:  # raised below and in chunks.py: the sentence
            return base.answered(str(error))

    def closed(self) -> Outcome:
        if self._head is not None:
            if not self._head:
                return base.answered("closed without an answer")
            return base.answered(f"closed in the head of its answer {base.excerpt(self._head)}")
        if self._chunks is not None or self._wanted is not None:
            of = f" of {self._wanted}" if self._wanted is not None else ""
            return base.answered(f"closed in the body of its answer, after {self._size}{of} bytes")
        return self._verdict()

    def missing(self) -> str:
        return ""

    def _take_head(self, data: bytes) -> Outcome | None:
        assert self._head is not None
        self._head += data
        while (end := _BLANK_LINE.search(self._head)) is not None:
            if end.start() + self._interim > HEAD_BOUND:
                break
            head, rest = bytes(self._head[: end.start()]), bytes(self._head[end.end() :])
            self._status = _status(head)
            if 100 <= self._status < 200 and self._status != 101:
                self._interim += end.end()
                self._head = bytearray(rest)
                continue
            self._head = None
            return self._begin_body(head, rest)
        if not self._head.startswith(_PREFIX[: len(self._head)]):
            raise ValueError(f"not an HTTP answer: {base.excerpt(self._head)}")
        if len(self._head) + self._interim > HEAD_BOUND:
            raise ValueError(f"head of its answer over {HEAD_BOUND >> 10} KiB")
        return None

    def _begin_body(self, head: bytes, rest: bytes) -> Outcome | None:
        if not any(wanted.first <= self._status <= wanted.last for wanted in self._check.status):
            return base.answered(f"HTTP {self._status}, expected {_wanted(self._check.status)}")
        length, codings, self._coding = _framing(head)
        # RFC 9112 6.3, in its order.
        if self._check.method == "HEAD" or self._status in (101, 204, 304):
            self._wanted = 0
        elif codings:
            self._chunks = Chunks() if codings[-1] == b"chunked" else None
        else:
            self._wanted = length
        return self._take_body(rest)

    def _take_body(self, data: bytes) -> Outcome | None:
        if self._chunks is not None:
            data = bytes(self._chunks.feed(data))
        self._size += len(data)
        if self._check.body is not None or self._check.json:
            self._body += data
        complete = self._chunks is not None and self._chunks.done
        return self._verdict() if complete or self._size >= self._enough() else None

    def _enough(self) -> int:
        return BODY_BOUND if self._wanted is None else min(BODY_BOUND, self._wanted)

    def _verdict(self) -> Outcome:
        pattern, wanted = self._check.body, self._check.json
        if pattern is None and not wanted:
            return base.good(f"HTTP {self._status}")
        if self._coding:
            # Never undone: a few kilobytes may stand for gigabytes.
            return base.answered(
                f"HTTP {self._status}, but its body is compressed ({base.excerpt(self._coding)}), "
                "which was not asked for"
            )
        body = bytes(self._body[: self._enough()])
        if wanted:
            outcome = json_text.judge(body, wanted, self._size > BODY_BOUND)
            if pattern is None or outcome.cause is not Cause.GOOD:
                return Outcome(outcome.cause, f"HTTP {self._status}, {outcome.detail}")
        assert pattern is not None
        return self._matched(pattern, body)

    def _matched(self, pattern: str, body: bytes) -> Outcome:
        try:
            found = self._search.found(pattern, body.decode("utf-8", "replace"))
        except SearchTooLongError:
            return base.answered(f"body: /{pattern}/ was not decided within {spell(LIMIT)}")
        except re.error as error:
            return Outcome(Cause.OURS, f"/{pattern}/ is no regular expression: {error}")
        if found:
            return base.good(f"HTTP {self._status}, body matches")
        starts = f"starts {base.excerpt(body)}" if body else "is empty"
        return base.answered(f"HTTP {self._status}, body does not match /{pattern}/: it {starts}")


def _host(endpoint: Endpoint, default: int) -> str:
    if endpoint.port != default:
        return str(endpoint)
    six = address.family(endpoint.address) == 6
    return f"[{endpoint.address}]" if six else endpoint.address


def _status(head: bytes) -> int:
    line = head.split(b"\n", 1)[0].removesuffix(b"\r")
    status = _STATUS_LINE.match(line)
    if status is None:
        raise ValueError(f"not an HTTP answer: {base.excerpt(line)}")
    return int(status[1])


def _framing(head: bytes) -> tuple[int | None, list[bytes], bytes]:
    """Content-Length, the transfer codings in their order, and the content coding; none: empty."""
    coding = b""
    lengths: set[bytes] = set()
    codings: list[bytes] = []
    for line in head.split(b"\n")[1:]:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-length":
                lengths.update(part.strip() for part in value.split(b","))
            case b"transfer-encoding":
                codings.extend(part.strip().lower() for part in value.split(b","))
            case b"content-encoding" if value.strip().lower() != b"identity":
                coding = value.strip()
    if not lengths:
        return None, codings, coding
    length = lengths.pop()
    if lengths or not length.isdigit() or len(length) > LENGTH_DIGITS:
        raise ValueError(f"Content-Length {base.excerpt(length)} is not one number")
    return int(length), codings, coding


@lru_cache(maxsize=1024)
def _wanted(ranges: tuple[StatusRange, ...]) -> str:
    return ", ".join(
        str(one.first) if one.first == one.last else f"{one.first}-{one.last}" for one in ranges
    )
