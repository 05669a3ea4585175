"""keepalived's checkers as checks of ours.

One success brings a server up (rise 1), `retry` failures after the first take it down (fall), and
`delay_before_retry` apart (fast_interval). Nothing of a certificate is verified.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hadirector.config.imports import endpoints
from hadirector.config.imports.commands import argv
from hadirector.config.imports.director import Values
from hadirector.config.imports.draft import Draft, Line, integer, seconds
from hadirector.core.address import Endpoint

CHECKERS = (
    *("tcp_check", "http_get", "ssl_get", "smtp_check", "dns_check", "udp_check", "ping_check"),
    "misc_check",
)
_TIMING = ("delay_loop", "connect_timeout", "retry", "delay_before_retry")
_DNS_TYPES = ("A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA")


@dataclass(frozen=True, slots=True)
class Timing:
    """keepalived's defaults, in seconds; each level of blocks may say otherwise."""

    delay_loop: float = 60.0
    connect_timeout: float = 5.0
    retry: int = 1
    delay_before_retry: float = 1.0

    def said(self, line: Line) -> "Timing | None":
        """With what a line says; None when it says nothing of timing."""
        if line.word not in _TIMING or len(line.rest) != 1:
            return None
        if line.word == "retry":
            count = integer(line.rest[0], 0, 999)
            return None if count is None else replace(self, retry=count)
        if seconds(line.rest[0]) is None:
            return None
        value = max(0.01, float(line.rest[0]))
        match line.word:
            case "delay_loop":
                return replace(self, delay_loop=value)
            case "connect_timeout":
                return replace(self, connect_timeout=value)
        return replace(self, delay_before_retry=value)

    def values(self) -> Values:
        """As our keys."""
        fast = min(self.delay_before_retry, self.delay_loop)
        return {
            "interval": seconds(str(self.delay_loop)) or "60s",
            "fast_interval": seconds(str(fast)) or "1s",
            "timeout": seconds(str(self.connect_timeout)) or "5s",
            "rise": 1,
            "fall": self.retry + 1,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """The server a checker stands in, and what its service says for all."""

    server: Endpoint
    timing: Timing
    virtualhost: str


def read(line: Line, draft: Draft, place: Place) -> list[str]:
    """The names of the checks that one checker becomes."""
    found = [_named(draft, check) for check in _Checker(draft, place).read(line.take())]
    return list(dict.fromkeys(found))


def _named(draft: Draft, check: Values) -> str:
    hint = str(check["type"])
    if path := str(check.get("path", "")).strip("/"):
        hint += f"-{path}"
    if "port" in check:
        hint += f"-{check['port']}"
    return draft.check_named(hint, check)


class _Checker:
    """One checker block."""

    def __init__(self, draft: Draft, place: Place) -> None:
        self._draft = draft
        self._place = place
        self._timing = place.timing
        self._common: Values = {}

    def read(self, line: Line) -> Iterator[Values]:
        """Its checks; several of HTTP_GET, which has several URLs."""
        kinds: dict[str, Callable[[Line], list[Values]]] = {
            "tcp_check": lambda _: [{"type": "tcp"}],
            "ping_check": lambda _: [{"type": "ping"}],
            "udp_check": self._udp,
            "dns_check": self._dns,
            "smtp_check": self._smtp,
            "misc_check": self._misc,
            "http_get": lambda one: self._http(one, "http"),
            "ssl_get": lambda one: self._http(one, "https"),
        }
        if line.word == "misc_check":
            self._timing = replace(
                self._timing, retry=0, connect_timeout=self._place.timing.delay_loop
            )
        if line.word == "dns_check":
            self._timing = replace(
                self._timing, retry=3, delay_before_retry=self._place.timing.delay_loop
            )
        for one in line.block or ():
            self._option(one)
        if line.word in ("ping_check", "misc_check") and self._common:
            self._draft.tell(line, f"not carried over: {', '.join(self._common)}")
            self._common = {}
        for made in kinds[line.word](line):
            yield made | self._common | self._timing.values()

    def _option(self, line: Line) -> None:
        """What most checkers have in common."""
        said = self._timing.said(line)
        if said is not None:
            self._timing = said
            line.take()
        match line.word, line.rest:
            case "connect_port", (text,) if port := integer(text, 1, 65535):
                if port != self._place.server.port:
                    self._common["port"] = port
                line.take()
            case "connect_ip", (text, *_) if endpoints.address(text) == self._place.server.address:
                line.take()
            case (("connect_ip" | "bindto" | "bind_if" | "bind_port" | "fwmark"), _):
                self._draft.refuse(
                    line, "servers are probed at their own address, from any of ours"
                )
            case "warmup", _:
                self._draft.need_not(line, "probes are spread out by themselves")

    def _http(self, line: Line, kind: str) -> list[Values]:
        if kind == "https":
            text = (
                "certificates are not verified, as before: write 'verify: true' where they can be"
            )
            self._draft.tell(line, text)
        host = self._place.virtualhost
        for one in line.block or ():
            if one.word == "virtualhost" and one.rest:
                host = one.take().rest[0]
        urls = [one for one in line.block or () if one.word == "url"]
        made = [self._url(one, kind, host) for one in urls]
        return made or [{"type": kind, **({"verify": False} if kind == "https" else {})}]

    def _url(self, line: Line, kind: str, host: str) -> Values:
        made: Values = {"type": kind}
        status: list[object] = []
        for one in line.take().block or ():
            match one.word, one.rest:
                case "path", (path,) if path.startswith("/") and path.isascii():
                    made["path"] = one.take().rest[0].replace(" ", "%20")
                case "virtualhost", (name,):
                    host = name
                    one.take()
                case "status_code", words if words and all(map(_is_status, words)):
                    status = list(one.take().rest)
                case "digest", _:
                    self._draft.refuse(one, "a page is known by its 'status' and 'body' here")
                case "regex", (pattern,) if _is_pattern(pattern):
                    made["body"] = one.take().rest[0]
        if host:
            made["host"] = host
        if status:
            made["status"] = [str(word) for word in status]
        if kind == "https":
            made["verify"] = False
        return made

    def _smtp(self, line: Line) -> list[Values]:
        made: Values = {"type": "smtp"}
        for one in line.block or ():
            if one.word == "helo_name" and one.rest:
                made["helo"] = one.take().rest[0]
            elif one.word == "host" and self._is_elsewhere(one):
                self._draft.refuse(one, "it is not the server itself")
            elif one.word == "host":
                for inner in one.take().block or ():
                    self._option(inner)
        return [made]

    def _is_elsewhere(self, host: Line) -> bool:
        """Whether a host to be probed is another than the server."""
        places = [one.rest[0] for one in host.block or () if one.word == "connect_ip" and one.rest]
        return any(endpoints.address(place) != self._place.server.address for place in places)

    def _dns(self, line: Line) -> list[Values]:
        made: Values = {"type": "dns", "name": "."}
        record = "SOA"
        for one in line.block or ():
            match one.word, one.rest:
                case "name", (name,):
                    made["name"] = name
                    one.take()
                case "type", (kind,) if kind.upper() in _DNS_TYPES:
                    record = one.take().rest[0].upper()
        made["record"] = record
        return [made]

    def _udp(self, line: Line) -> list[Values]:
        made: Values = {"type": "udp"}
        for one in line.block or ():
            match one.word, "".join(one.rest):
                case "payload", digits if _is_hex(digits):
                    made["send"] = {"hex": digits}
                    one.take()
                case "require_reply", digits if _is_hex(digits):
                    made["expect"] = {"hex": digits}
                    one.take()
        if "send" not in made:
            made["send"] = {"hex": "00"}
            self._draft.tell(line, "a zero byte is sent: better ask the server what it answers")
        return [made]

    def _misc(self, line: Line) -> list[Values]:
        command = None
        for one in line.block or ():
            match one.word, one.rest:
                case "misc_path", (_, *_):
                    command = argv(" ".join(one.take().rest))
                case "misc_timeout", (text,) if seconds(text):
                    self._timing = replace(self._timing, connect_timeout=float(text) or 1.0)
                    one.take()
                case "user", _:
                    self._draft.need_not(one, "checks run without any right")
        if command is None:
            self._draft.refuse(line, "it has no command that could be run")
            return []
        return [{"type": "exec", "command": command}]


def _is_status(word: str) -> bool:
    return re.fullmatch(r"[1-5][0-9]{2}(-[1-5][0-9]{2})?", word) is not None


def _is_hex(digits: str) -> bool:
    return re.fullmatch(r"(?:[0-9a-fA-F]{2}){1,4096}", digits) is not None


def _is_pattern(text: str) -> bool:
    """Whether it means the same here: most of PCRE does."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
