"""ldirectord.cf: `virtual=` sections with their `real=` lines below them, indented.

ldirectord checks each `checkinterval` (10 s) for at most `negotiatetimeout` or `checktimeout`, one
success brings a server up, `failurecount` failures take it down, and `quiescent` says whether that
is weight 0 or removal. What is said before the first virtual service holds for all.
"""

import re
from dataclasses import dataclass, field

from hadirector.config.imports import endpoints
from hadirector.config.imports.draft import Draft, Line, integer, seconds, unused
from hadirector.config.imports.ipvsadm import shared
from hadirector.core.address import Endpoint, family
from hadirector.core.ipvs import Scheduler

Values = dict[str, object]
_FORWARDS = {"gate": "dr", "masq": "nat", "ipip": "tun"}
_PORTS = {
    **{21: "ftp", 25: "smtp", 53: "dns", 80: "http", 110: "pop", 119: "nntp", 143: "imap"},
    **{389: "ldap", 443: "https", 587: "smtp", 636: "ldaps", 993: "imaps", 995: "pops"},
    **{1521: "oracle", 3306: "mysql", 5432: "pgsql", 5060: "sip", 1812: "radius"},
}
_PRESETS = ("ftp", "imap", "pop", "nntp", "ldap", "mysql", "pgsql", "sip", "radius")
_SEALED = {"imaps": "imap", "pops": "pop", "ldaps": "ldap"}
_ALL = (  # settings that may stand before the first virtual service
    *("checktimeout", "negotiatetimeout", "checkinterval", "failurecount", "quiescent"),
    *("fallback", "checkcount"),
)
_NOT_NEEDED = {
    "autoreload": "use `hadirector reload`",
    "fork": "all checks run at the same time",
    "supervised": "the unit says how it runs",
    "logfile": "the journal has it",
    "readdquiescent": "a server that is gone from the table comes back by itself",
    "cleanstop": "a daemon that stops takes its services along",
    "comment": "",
}
_INSTEAD = {
    "maintenancedir": "use `hadirector disable` and `drain`",
    "emailalert": "write a hook for server_down and server_up",
    "emailalertfrom": "write a hook for server_down and server_up",
    "emailalertfreq": "write a hook for server_down and server_up",
    "emailalertstatus": "write a hook for server_down and server_up",
    "smtp": "write a hook for server_down and server_up",
    "callback": "one file serves both nodes: copy it as you like",
    "execute": "write a hook",
    "fallbackcommand": "write a hook for quorum_lost and quorum_gained",
    "monitorfile": "what each check said is in `hadirector explain`",
}
_SETTING = re.compile(r"(\S+?)\s*=\s*(.*)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class _Service:
    """A virtual service while it is read: settings by name with their lines, and servers."""

    line: Line
    place: Endpoint | int
    six: bool
    settings: dict[str, tuple[Line, str]]
    servers: list[Values] = field(default_factory=list)
    requests: list[tuple[Line, str, str]] = field(default_factory=list)


def read(texts: dict[str, str]) -> Draft:
    """Our configuration of these files."""
    draft = Draft(", ".join(texts))
    for path, text in texts.items():
        read_into(draft, path, text)
    return draft


def read_into(draft: Draft, path: str, text: str) -> None:
    """Add what a file says to a draft."""
    common: dict[str, tuple[Line, str]] = {}
    service: _Service | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        stripped = re.sub(r"^\s*#.*|\s#.*$", "", raw).rstrip()
        if not stripped:
            continue
        line = Line(path, number, tuple(stripped.split()))
        found = _SETTING.fullmatch(stripped.strip())
        if found is None:
            draft.refuse(line, "no setting")
            continue
        key, value = found[1].lower(), found[2].strip()
        line.words = (key, *value.split())
        if key in ("virtual", "virtual6"):
            _finish(draft, service)
            service = _virtual(draft, line, value, key == "virtual6", common)
        elif key in _NOT_NEEDED:
            draft.need_not(line, _NOT_NEEDED[key] or "it does nothing")
        elif key in _INSTEAD:
            draft.refuse(line, _INSTEAD[key])
        elif service is None or not raw[:1].isspace():
            _common(draft, common, line, key, value)
        elif key == "real":
            _real(draft, service, line, value)
        else:
            service.settings[key] = (line, value)
    _finish(draft, service)


def _common(
    draft: Draft, common: dict[str, tuple[Line, str]], line: Line, key: str, value: str
) -> None:
    if key in _ALL:
        common[key] = (line.take(), value)
    else:
        draft.refuse(line, "not known here")


def _virtual(
    draft: Draft, line: Line, value: str, six: bool, common: dict[str, tuple[Line, str]]
) -> _Service | None:
    mark = integer(value, 1, 2**32 - 1)
    place: Endpoint | int | None = mark
    if mark is None:
        place = endpoints.with_port(value, "tcp") or endpoints.with_port(value, "udp")
    if place is None:
        draft.refuse(line, "no address and port in numbers, and no mark")
        return None
    line.take()
    six = six or (isinstance(place, Endpoint) and family(place.address) == 6)
    return _Service(line, place, six, dict(common))


def _real(draft: Draft, service: _Service, line: Line, value: str) -> None:
    """`ADDRESS[->LAST][:PORT] gate|masq|ipip [weight] ["request", "receive"]`."""
    quoted = _QUOTED.findall(value)
    words = _QUOTED.sub("", value).replace(",", " ").split()
    default = service.place.port if isinstance(service.place, Endpoint) else 0
    places = _places(words[0], default) if words else []
    forward = _FORWARDS.get(words[1].lower()) if len(words) > 1 else None
    weight = integer(words[2], 0, 65535) if len(words) > 2 else 1
    if not places or forward is None or weight is None or len(words) > 3:
        draft.refuse(line, "no address in numbers, and gate, masq or ipip behind it")
        return
    line.take()
    for place in places:
        fixed = place
        if forward != "nat" and default and place.port != default:
            draft.tell(line, f"{forward} leaves the port as it is: {default} is taken")
            fixed = Endpoint(place.address, default)
        service.servers.append({"address": str(fixed), "forward": forward, "weight": weight})
    request, receive = (*quoted, "", "")[:2]
    if quoted:
        service.requests.append((line, request, receive))


def _places(text: str, default: int) -> list[Endpoint]:
    """One server, or those of a range `10.0.0.1->10.0.0.4:80`."""
    first, arrow, rest = text.partition("->")
    if not arrow:
        one = endpoints.with_port(text, "tcp", default)
        return [] if one is None else [one]
    low, last = endpoints.address(first), endpoints.with_port(rest, "tcp", default)
    if low is None or last is None or ":" in low or ":" in last.address:
        return []
    start, end = (int.from_bytes(map(int, one.split("."))) for one in (low, last.address))
    if not start <= end < start + 256:
        return []
    numbers = (number.to_bytes(4) for number in range(start, end + 1))
    found = (endpoints.address(".".join(map(str, number))) for number in numbers)
    return [Endpoint(one, last.port) for one in found if one is not None]


# --- One service -----------------------------------------------------------------------------


def _finish(draft: Draft, service: _Service | None) -> None:
    if service is None:
        return
    protocol = "fwmark"
    if isinstance(service.place, Endpoint):
        protocol = _protocol(service)
        name = endpoints.name_of(protocol, str(service.place))
        address: object = str(service.place)
    else:
        name = f"fwmark-{service.place}"
        _value(service, "protocol")  # a mark has any
        address = {"fwmark": service.place, "family": "ipv6" if service.six else "ipv4"}
    if "servicename" in service.settings:
        name = service.settings["servicename"][1].strip('"')
        service.settings["servicename"][0].take()
    values: Values = {"address": address}
    if protocol not in ("tcp", "fwmark"):
        values["protocol"] = protocol
    _scheduling(draft, service, values)
    _fallback(draft, service, values)
    check = _check(draft, service, protocol)
    if check is not None:
        values["check"] = draft.check_named(str(check["type"]), check)
    if _is_yes(service, "quiescent", "yes"):
        values["on_failure"] = "quiesce"
    for key, (line, value) in service.settings.items():
        if not line.taken:
            draft.refuse(line, "not known here" if value else f"{key} has no value")
    draft.services[unused(name, draft.services)] = values | shared(service.servers)


def _protocol(service: _Service) -> str:
    """As written, else as the service's port is used."""
    said = _value(service, "protocol").lower()
    if said in ("tcp", "udp", "sctp"):
        return said
    kind = _value(service, "service").lower() or _kind_of(service)
    return "udp" if kind in ("dns", "sip", "radius") else "tcp"


def _value(service: _Service, key: str, default: str = "") -> str:
    """What a setting says; its line counts as carried over."""
    if key not in service.settings:
        return default
    line, value = service.settings[key]
    line.take()
    return value.strip().strip('"')


def _is_yes(service: _Service, key: str, default: str) -> bool:
    return _value(service, key, default).lower() in ("yes", "on", "true")


def _scheduling(draft: Draft, service: _Service, values: Values) -> None:
    scheduler = _value(service, "scheduler", "wrr")
    if scheduler in [each.value for each in Scheduler]:
        values["scheduler"] = scheduler
    else:
        draft.refuse(service.settings["scheduler"][0], "no scheduler of IPVS")
    timeout = integer(_value(service, "persistent"), 1, 31 * 86400)
    if timeout:
        persistence: Values = {"timeout": f"{timeout}s"}
        length = endpoints.prefix(_value(service, "netmask"), 6 if service.six else 4)
        if length:
            persistence["prefix"] = length
        values["persistence"] = persistence
    if _is_yes(service, "ops", "no"):
        values["one_packet"] = True


def _fallback(draft: Draft, service: _Service, values: Values) -> None:
    if "fallback" not in service.settings:
        return
    line, text = service.settings["fallback"]
    words = text.split()
    own = service.place.port if isinstance(service.place, Endpoint) else 0
    place = endpoints.with_port(words[0], "tcp", own) if words else None
    forward = _FORWARDS.get(words[1].lower()) if len(words) > 1 else "dr"
    if place is None or forward is None:
        draft.refuse(line, "no address in numbers")
        return
    if forward != "nat" and own and place.port != own:
        draft.tell(service.line, f"its fallback, {place}, gets port {own}: {forward} leaves it")
        place = Endpoint(place.address, own)
    if forward != "tun" and service.six is not (family(place.address) == 6):
        draft.tell(service.line, f"its fallback, {place}, is of another family: left out")
    elif any(server["address"] == str(place) for server in service.servers):
        draft.tell(service.line, f"its fallback, {place}, is a real server already: left out")
    else:
        line.take()
        values["fallback"] = {"address": str(place), "forward": forward}


def _kind_of(service: _Service) -> str:
    port = service.place.port if isinstance(service.place, Endpoint) else 0
    return _PORTS.get(port, "none")


def _check(draft: Draft, service: _Service, protocol: str) -> Values | None:
    """`checktype` says how deep is looked, `service` in which protocol."""
    kind = _value(service, "service").lower() or _kind_of(service)
    how = _value(service, "checktype", "negotiate").lower()
    made: Values | None
    match how:
        case "off" | "on":
            line = service.settings["checktype"][0]
            draft.tell(line, "no check: servers count as up; `hadirector disable` takes one out")
            return None
        case "ping":
            made = {"type": "ping"}
        case "external" | "external-perl":
            made = _external(draft, service)
        case "connect":
            made = {"type": "tcp"} if protocol == "tcp" else {"type": "ping"}
        case _:
            if how != "negotiate" and not how.isdigit():
                draft.refuse(service.settings["checktype"][0], "no kind of check known here")
            made = _negotiate(draft, service, kind, protocol)
    if made is None:
        return None
    port = integer(_value(service, "checkport"), 1, 65535)
    if port and made["type"] not in ("ping", "exec"):
        made["port"] = port
    elif not port and made["type"] not in ("ping", "exec") and _portless(service):
        draft.tell(service.line, "servers without ports: 80 is probed; write the check's 'port'")
        made["port"] = 80
    return made | _timing(service, how)


def _portless(service: _Service) -> bool:
    return any(str(server["address"]).endswith(":0") for server in service.servers)


def _timing(service: _Service, how: str) -> Values:
    """Of the service, else of all, else ldirectord's own."""
    interval = seconds(_value(service, "checkinterval", "10")) or "10s"
    negotiate = seconds(_value(service, "negotiatetimeout", "30")) or "5s"
    connect = seconds(_value(service, "checktimeout", "5")) or "5s"
    count = _value(service, "checkcount", "1")
    return {
        "interval": interval,
        "timeout": negotiate if how == "negotiate" else connect,
        "rise": 1,
        "fall": integer(_value(service, "failurecount", count), 1, 1000) or 1,
    }


def _external(draft: Draft, service: _Service) -> Values | None:
    command = _value(service, "checkcommand")
    if not command.startswith("/"):
        draft.refuse(service.line, "checktype external without a checkcommand by its path")
        return None
    line = service.settings["checkcommand"][0]
    draft.tell(
        line, "ldirectord gave it four arguments; ours has HADIRECTOR_... in its environment"
    )
    return {"type": "exec", "command": command.split()}


def _negotiate(draft: Draft, service: _Service, kind: str, protocol: str) -> Values:
    """A question in the service's own protocol."""
    request, receive = _value(service, "request"), _value(service, "receive")
    for line, own, answer in service.requests:
        if not request and not receive:
            request, receive = own, answer
        elif (own, answer) != (request, receive):
            draft.tell(line, f"its own request is not carried over: {own} {answer}")
    match kind:
        case "http" | "https" | "http_proxy":
            return _http(draft, service, kind, (request, receive))
        case "smtp" | "submission":
            return {"type": "smtp"}
        case "dns":
            made: Values = {"type": "dns", "name": request or ".", "record": "SOA"}
            return made | ({"record": "A", "expect": receive} if receive else {})
        case "simpletcp" if request or receive:
            made = {"type": "expect", "dialogue": []}
            steps: list[object] = [{"send": _unescaped(request)}] if request else []
            return made | {"dialogue": steps + ([{"expect": receive}] if receive else [])}
    preset = _SEALED.get(kind, kind)
    if preset in _PRESETS:
        return _preset(draft, service, kind, preset)
    if kind not in ("none", "simpletcp"):
        draft.tell(service.line, f"service {kind} is not known here: a connection is enough")
    return {"type": "tcp"} if protocol == "tcp" else {"type": "ping"}


def _preset(draft: Draft, service: _Service, kind: str, preset: str) -> Values:
    made: Values = {"type": "expect", "preset": preset}
    if kind in _SEALED:
        made["tls"] = True
        made["verify"] = False
    if preset == "radius":
        made["secret_file"] = "/etc/hadirector/radius.secret"
        draft.tell(service.line, "write RADIUS's secret into /etc/hadirector/radius.secret")
        _value(service, "secret")
    if database := _value(service, "database"):
        if preset == "pgsql":
            made["name"] = database
        else:
            draft.refuse(service.settings["database"][0], "only the dialogue is checked")
    for key in ("login", "passwd"):
        if _value(service, key):
            line = service.settings[key][0]
            draft.tell(line, f"{key} is not carried over: secrets are in files; see 'auth_file'")
    return made


def _http(draft: Draft, service: _Service, kind: str, asked: tuple[str, str]) -> Values:
    request, receive = asked
    made: Values = {"type": "https" if kind == "https" else "http"}
    if kind == "http_proxy":
        draft.tell(service.line, "a proxy is asked for the page itself, not for one behind it")
    if request:
        made["path"] = "/" + re.sub(r"^https?://[^/]*", "", request).lstrip("/")
    if host := _value(service, "virtualhost"):
        made["host"] = host
    method = _value(service, "httpmethod", "GET").upper()
    if method in ("GET", "HEAD"):
        made |= {"method": method} if method != "GET" else {}
    else:
        draft.refuse(service.settings["httpmethod"][0], "GET and HEAD ask for a page")
    if receive:
        made["body"] = receive
    if kind == "https":
        made["verify"] = False
        draft.tell(
            service.line, "certificates are not verified: write 'verify: true' where they can"
        )
    return made


def _unescaped(text: str) -> str:
    return text.replace("\\r", "\r").replace("\\n", "\n")
