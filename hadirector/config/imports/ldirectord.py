"""ldirectord.cf: `virtual=` sections with their `real=` lines below them, indented.

`quiescent` says whether a server that is down gets weight 0 or is removed. What is said before the
first virtual service holds for all.
"""

import re

from hadirector.config.imports import endpoints, ldirectord_checks
from hadirector.config.imports.director import Values
from hadirector.config.imports.draft import Draft, Line, Told, integer, unused
from hadirector.config.imports.ipvsadm import shared
from hadirector.config.imports.ldirectord_service import Service
from hadirector.core.address import Endpoint, family
from hadirector.core.ipvs import Scheduler

_FORWARDS = {"gate": "dr", "masq": "nat", "ipip": "tun"}
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


def read(texts: dict[str, str]) -> Draft:
    """Our configuration of these files."""
    draft = Draft(", ".join(texts))
    for path, text in texts.items():
        read_into(draft, path, text)
    return draft


def read_into(draft: Draft, path: str, text: str) -> None:
    """Add what a file says to a draft."""
    common: dict[str, tuple[Line, str]] = {}
    service: Service | None = None
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
) -> Service | None:
    mark = integer(value, 1, 2**32 - 1)
    place: Endpoint | int | None = mark
    if mark is None:
        place = endpoints.with_port(value, "tcp") or endpoints.with_port(value, "udp")
    if place is None:
        draft.refuse(line, "no address and port in numbers, and no mark")
        return None
    line.take()
    six = six or (isinstance(place, Endpoint) and family(place.address) == 6)
    return Service(line, place, six, dict(common))


def _real(draft: Draft, service: Service, line: Line, value: str) -> None:
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


def _finish(draft: Draft, service: Service | None) -> None:
    if service is None:
        return
    protocol = "fwmark"
    if isinstance(service.place, Endpoint):
        protocol = _protocol(service)
        name = endpoints.name_of(protocol, str(service.place))
        address: object = str(service.place)
    else:
        name = f"fwmark-{service.place}"
        service.value("protocol")  # a mark has any
        address = {"fwmark": service.place, "family": "ipv6" if service.six else "ipv4"}
    if "servicename" in service.settings:
        name = service.settings["servicename"][1].strip('"')
        service.settings["servicename"][0].take()
    values: Values = {"address": address}
    if protocol not in ("tcp", "fwmark"):
        values["protocol"] = protocol
    _scheduling(draft, service, values)
    _fallback(draft, service, values)
    check = ldirectord_checks.read(draft, service, protocol)
    if check is not None:
        values["check"] = draft.check_named(str(check["type"]), check)
    values["on_failure"] = _on_failure(draft, service)
    for key, (line, value) in service.settings.items():
        if not line.taken:
            draft.refuse(line, "not known here" if value else f"{key} has no value")
    draft.services[unused(name, draft.services)] = values | shared(service.servers)


def _on_failure(draft: Draft, service: Service) -> str:
    """A setting that holds for all services is told of once."""
    if service.is_yes("quiescent", "yes"):
        return "quiesce"
    line, _ = service.settings["quiescent"]
    text = (
        f"{line.quoted} becomes on_failure: remove: a server that is down is removed and its "
        "connections are ended at once, where ldirectord left them to wait for its return"
    )
    if Told(line.file, line.number, text) not in draft.told:
        draft.tell(line, text)
    return "remove"


def _protocol(service: Service) -> str:
    """As written, else as the service's port is used."""
    said = service.value("protocol").lower()
    if said in ("tcp", "udp", "sctp"):
        return said
    kind = service.kind
    return "udp" if kind in ("dns", "sip", "radius") else "tcp"


def _scheduling(draft: Draft, service: Service, values: Values) -> None:
    scheduler = service.value("scheduler", "wrr")
    if scheduler in [each.value for each in Scheduler]:
        values["scheduler"] = scheduler
    else:
        draft.refuse(service.settings["scheduler"][0], "no scheduler of IPVS")
    timeout = integer(service.value("persistent"), 1, 31 * 86400)
    if timeout:
        persistence: Values = {"timeout": f"{timeout}s"}
        length = endpoints.prefix(service.value("netmask"), 6 if service.six else 4)
        if length:
            persistence["prefix"] = length
        values["persistence"] = persistence
    if service.is_yes("ops", "no"):
        values["one_packet"] = True


def _fallback(draft: Draft, service: Service, values: Values) -> None:
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
