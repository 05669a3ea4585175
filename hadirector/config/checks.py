"""`checks:` -> Check by name, and the rule that makes one verdict of a service's checks.

Options of a type beside the common ones (type, interval, fast_interval, timeout, rise, fall):

    those with a port   port connect source
    tcp        held
    http       held path host method headers send status body json auth_file
    https      as http, and verify ca_file warn_days
    tls        held host alpn verify ca_file warn_days
    udp        send expect
    dns        name record expect rcode protocol
    smtp       helo starttls tls, and with one of these host verify ca_file warn_days
    expect     preset or dialogue or send and expect (config/dialogue), tls as smtp
    exec       command exit (config/told)
    ping       none
    agent      port connect source
    external   max_age
"""

import re
from dataclasses import replace
from typing import TypeVar

from hadirector.config import dialogue, payload, questions, scalars, told
from hadirector.config.nodes import Nodes
from hadirector.config.problem import Wrong, listed, shown
from hadirector.config.reader import Parse, Section, one_of_names
from hadirector.config.tree import Mapping, Sequence, Tree
from hadirector.core.duration import spell
from hadirector.core.settings.checks import Check, CheckRule, CheckType, Combine, StatusRange

T = TypeVar("T")
NO_CHECK = CheckRule(Combine.ALL, ())

_WHERE = ("port", "connect", "source")
_BY_STREAM = (CheckType.TCP, CheckType.HTTP, CheckType.HTTPS, CheckType.TLS)
_HTTP = (
    *(*_WHERE, "held", "path", "host", "method", "headers", "send", "status", "body", "json"),
    "auth_file",
)
_OPTIONS: dict[CheckType, tuple[str, ...]] = {
    CheckType.TCP: (*_WHERE, "held"),
    CheckType.HTTP: _HTTP,
    CheckType.HTTPS: (*_HTTP, "verify", "ca_file", "warn_days"),
    CheckType.TLS: (*_WHERE, "held", "alpn", *questions.TLS_KEYS),
    CheckType.UDP: (*_WHERE, "send", "expect"),
    CheckType.DNS: (*_WHERE, "name", "record", "expect", "rcode", "protocol"),
    CheckType.SMTP: (*_WHERE, "helo", "starttls", "tls", *questions.TLS_KEYS),
    CheckType.EXPECT: (
        *(*_WHERE, "preset", "dialogue", "send", "expect", "protocol", "user", "name"),
        *("auth_file", "secret_file", "tls", *questions.TLS_KEYS),
    ),
    CheckType.EXEC: ("command", "exit"),
    CheckType.PING: (),
    CheckType.AGENT: _WHERE,
    CheckType.EXTERNAL: ("max_age",),
}
_ALL_OPTIONS = tuple(option for options in _OPTIONS.values() for option in options)
_INTERVALS = {CheckType.EXEC: told.EXEC_INTERVAL}
_TIMEOUTS = {CheckType.EXEC: told.EXEC_TIMEOUT}
_AT_FIRST_WORD = frozenset({CheckType.EXTERNAL})  # who reports has made up his mind
_HELD_BY_DEFAULT = frozenset({CheckType.HTTP, CheckType.HTTPS})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 5.6.2


def read(root: Section, nodes: Nodes) -> dict[str, Check]:
    """Every check by name."""
    return {name: _check(name, section, nodes) for name, section in root.named("checks")}


def read_rule(section: Section, known: dict[str, Check]) -> CheckRule:
    """`check: page`, `{all: [..]}`, `{any: [..]}` or `{at_least: 2, of: [..]}`."""
    one = one_of_names(tuple(known), "check")
    if not isinstance(section.node.entries.get("check"), Mapping):
        name = section.read("check", one, None)
        return CheckRule(Combine.ALL, (name,)) if name else NO_CHECK
    rule = section.section("check")
    assert rule is not None, "a mapping is a section"
    kinds = [key for key in ("all", "any", "at_least") if rule.has(key)]
    if len(kinds) != 1:
        fix = "write a name, {all: [..]}, {any: [..]} or {at_least: 2, of: [..]}"
        rule.error(rule.at, "", fix)
        return NO_CHECK
    listed_under = "of" if kinds == ["at_least"] else kinds[0]
    names = rule.each(listed_under, one)
    count = rule.read("at_least", scalars.integer(1, 1000), 0)
    rule.close()
    if not names:
        rule.error(rule.at, listed_under, "needs the names of checks: [one, two]")
    elif len(set(names)) < len(names):
        rule.error(rule.at, listed_under, "names a check twice: keep one")
    elif count > len(names):
        text = f"{count} of {len(names)} checks can never be up: lower it"
        rule.error(rule.value_at("at_least"), "at_least", text)
    return CheckRule(Combine(kinds[0]), names, count)


def _check(name: str, section: Section, nodes: Nodes) -> Check:
    known = section.required("type", scalars.choice(CheckType), "tcp")
    kind = known or CheckType.TCP
    # Of a type that is not known, any option may be right: one mistake is told, not five.
    options = frozenset(_OPTIONS[known] if known else _ALL_OPTIONS)
    interval = section.read("interval", scalars.duration(0.01, 86400), _INTERVALS.get(kind, 1.0))
    fast = section.read("fast_interval", scalars.duration(0.01, 86400), min(0.2, interval))
    timeout = section.read("timeout", scalars.duration(0.01, 3600), _TIMEOUTS.get(kind, 0.5))
    count, in_a_row = scalars.integer(1, 1000), 1 if kind in _AT_FIRST_WORD else 2
    check = Check(
        name=name,
        type=kind,
        interval=interval,
        fast_interval=fast,
        timeout=timeout,
        rise=section.read("rise", count, in_a_row),
        fall=section.read("fall", count, in_a_row),
        held=_option(section, options, "held", scalars.boolean, kind in _HELD_BY_DEFAULT),
        method=_option(section, options, "method", _method, "GET"),
        path=_option(section, options, "path", _url_path, "/"),
        host=_option(section, options, "host", _field_value, None),
        headers=_headers(section) if "headers" in options else (),
        status=_statuses(section) if "status" in options else (StatusRange(200, 299),),
        body=_option(section, options, "body", scalars.pattern, None),
    )
    if known is None:
        for option in _ALL_OPTIONS:
            section.has(option)
    else:
        check = _asking(section, check, options, nodes)
    if known in _BY_STREAM:
        check = _as_client(section, check)
    _lint(section, check)
    section.close()
    return check


def _as_client(section: Section, check: Check) -> Check:
    """`as_client` (config/as_client): elsewhere it cannot go."""
    wanted = section.read("as_client", scalars.boolean, False)
    elsewhere = [key for key in ("port", "connect") if section.has(key)]
    if wanted and elsewhere:
        text = f"goes to the virtual address and its port: remove '{elsewhere[0]}'"
        section.error(section.value_at("as_client"), "as_client", text)
    return replace(check, as_client=wanted, held=check.held and not wanted)


def _asking(section: Section, check: Check, options: frozenset[str], nodes: Nodes) -> Check:
    """The check with what its type alone has."""
    if "port" in options:
        port = section.read("port", scalars.integer(1, 65535), None)
        connect, port, source = questions.read_where(section, port, nodes)
        check = replace(check, connect=connect, port=port, source=source)
    auth_file = _option(section, options, "auth_file", scalars.path, None)
    check = replace(check, auth_file=auth_file)
    match check.type:
        case CheckType.HTTP | CheckType.HTTPS:
            return _http(section, check)
        case CheckType.TLS:
            alpn = questions.alpn(section)
            tls = questions.read_tls(section, alpn=alpn, must_choose=bool(alpn))
            return replace(check, tls=tls)
        case CheckType.UDP:
            return replace(check, udp=questions.read_udp(section))
        case CheckType.DNS:
            return replace(check, dns=questions.read_dns(section))
        case CheckType.SMTP:
            tls_if = questions.read_tls_if(section)
            return replace(check, smtp=questions.read_smtp(section), tls=tls_if)
        case CheckType.EXPECT:
            tls_if = questions.read_tls_if(section)
            return replace(check, dialogue=dialogue.read(section), tls=tls_if)
        case _:
            return told.read(section, check)


def _http(section: Section, check: Check) -> Check:
    if check.type is CheckType.HTTPS:
        check = replace(check, tls=questions.read_tls(section, alpn=("http/1.1",)))
    send = section.read("send", _body, "")
    if send and check.method in ("GET", "HEAD"):
        text = f"{check.method} takes no body: add 'method: POST'"
        section.error(section.value_at("send"), "send", text)
    named = {name.lower() for name, _ in check.headers}
    if check.auth_file is not None and "authorization" in named:
        text = "is given twice, in 'auth_file' and in 'headers': keep one"
        section.error(section.value_at("auth_file"), "auth_file", text)
    return replace(check, send=send, json=questions.read_json(section))


def _body(tree: Tree) -> str:
    """The body of a request: any text that is not empty. JSON has a use for a written-out \\n."""
    value = scalars.plain(tree)
    if not value or len(value.encode("utf-8", "replace")) > payload.LARGEST:
        raise Wrong(f"needs a text of 1 to {payload.LARGEST} bytes")
    return value


def _option(section: Section, options: frozenset[str], key: str, parse: Parse[T], default: T) -> T:
    """An option, where the check's type has it; elsewhere it stays an unknown key."""
    return section.read(key, parse, default) if key in options else default


def _lint(section: Section, check: Check) -> None:
    if check.fast_interval > check.interval:
        text = (
            f"{spell(check.fast_interval)} is longer than interval, "
            f"{spell(check.interval)}: make it at most that"
        )
        section.error(section.value_at("fast_interval"), "fast_interval", text)
    if check.timeout > check.interval and (section.has("timeout") or section.has("interval")):
        text = (
            f"{spell(check.timeout)} is longer than interval, "
            f"{spell(check.interval)}: a silent server is probed less often than that"
        )
        key = "timeout" if section.has("timeout") else "interval"
        section.warn(section.value_at(key), "timeout", text)


def _statuses(section: Section) -> tuple[StatusRange, ...]:
    if not section.has("status"):
        return (StatusRange(200, 299),)
    tree = section.node.entries["status"]
    if isinstance(tree, Sequence) and not tree.items:
        section.error(tree.at, "status", "needs codes: [200-299, 404]")
    return section.each("status", _status)


def _status(tree: Tree) -> StatusRange:
    value = scalars.plain(tree)
    found = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", value)
    if found is None:
        raise Wrong(f"{shown(value)} is no HTTP status: write 200 or 200-299")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise Wrong(f"{value} is no range: the lower code first")
    return StatusRange(first, last)


def _headers(section: Section) -> tuple[tuple[str, str], ...]:
    below = section.section("headers")
    if below is None:
        return ()
    headers = []
    for title, at in below.node.keys_at.items():
        value = below.read(title, _field_value, None)
        if not _TOKEN.fullmatch(title):
            below.error(at, "", f"{shown(title)} is no header's name")
        elif value is not None:
            headers.append((title, value))
    return tuple(headers)


def _method(tree: Tree) -> str:
    value = scalars.plain(tree)
    if not re.fullmatch(r"[A-Z]{1,16}", value):
        methods = listed(("GET", "HEAD", "OPTIONS"))
        raise Wrong(f"{shown(value)} is no HTTP method: write one such as {methods}")
    return value


def _url_path(tree: Tree) -> str:
    value = _field_value(tree)
    if not value.startswith("/") or " " in value:
        raise Wrong(f"{shown(value)} is no path of a URL: begin it with '/', write spaces as %20")
    return value


def _field_value(tree: Tree) -> str:
    """What a request line or header can carry."""
    value = scalars.text(tree)
    if not value.isascii():
        raise Wrong(f"{shown(value)} has letters beyond ASCII: encode them")
    return value


def needs_port(kind: CheckType) -> bool:
    """Whether a check of this type goes to a port."""
    return "port" in _OPTIONS[kind]
