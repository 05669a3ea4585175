"""How ldirectord looks at servers, as checks of ours.

It checks each `checkinterval` (10 s) for at most `negotiatetimeout` or `checktimeout`; one success
brings a server up, `failurecount` failures take it down.
"""

import re

from hadirector.config.imports.director import Values
from hadirector.config.imports.draft import Draft, integer, seconds
from hadirector.config.imports.ldirectord_service import Service

_PRESETS = ("ftp", "imap", "pop", "nntp", "ldap", "mysql", "pgsql", "sip", "radius")
_SEALED = {"imaps": "imap", "pops": "pop", "ldaps": "ldap"}


def read(draft: Draft, service: Service, protocol: str) -> Values | None:
    """`checktype` says how deep is looked, `service` in which protocol."""
    kind = service.kind
    how = service.value("checktype", "negotiate").lower()
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
    port = integer(service.value("checkport"), 1, 65535)
    if port and made["type"] not in ("ping", "exec"):
        made["port"] = port
    elif not port and made["type"] not in ("ping", "exec") and _portless(service):
        draft.tell(service.line, "servers without ports: 80 is probed; write the check's 'port'")
        made["port"] = 80
    return made | _timing(service, how)


def _portless(service: Service) -> bool:
    return any(str(server["address"]).endswith(":0") for server in service.servers)


def _timing(service: Service, how: str) -> Values:
    """Of the service, else of all, else ldirectord's own."""
    interval = seconds(service.value("checkinterval", "10")) or "10s"
    negotiate = seconds(service.value("negotiatetimeout", "30")) or "5s"
    connect = seconds(service.value("checktimeout", "5")) or "5s"
    count = service.value("checkcount", "1")
    return {
        "interval": interval,
        "timeout": negotiate if how == "negotiate" else connect,
        "rise": 1,
        "fall": integer(service.value("failurecount", count), 1, 1000) or 1,
    }


def _external(draft: Draft, service: Service) -> Values | None:
    command = service.value("checkcommand")
    if not command.startswith("/"):
        draft.refuse(service.line, "checktype external without a checkcommand by its path")
        return None
    line = service.settings["checkcommand"][0]
    draft.tell(
        line, "ldirectord gave it four arguments; ours has HADIRECTOR_... in its environment"
    )
    return {"type": "exec", "command": command.split()}


def _negotiate(draft: Draft, service: Service, kind: str, protocol: str) -> Values:
    """A question in the service's own protocol."""
    request, receive = service.value("request"), service.value("receive")
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


def _preset(draft: Draft, service: Service, kind: str, preset: str) -> Values:
    made: Values = {"type": "expect", "preset": preset}
    if kind in _SEALED:
        made["tls"] = True
        made["verify"] = False
    if preset == "radius":
        made["secret_file"] = "/etc/hadirector/radius.secret"
        draft.tell(service.line, "write RADIUS's secret into /etc/hadirector/radius.secret")
        service.value("secret")
    if database := service.value("database"):
        if preset == "pgsql":
            made["name"] = database
        else:
            draft.refuse(service.settings["database"][0], "only the dialogue is checked")
    for key in ("login", "passwd"):
        if service.value(key):
            line = service.settings[key][0]
            draft.tell(line, f"{key} is not carried over: secrets are in files; see 'auth_file'")
    return made


def _http(draft: Draft, service: Service, kind: str, asked: tuple[str, str]) -> Values:
    request, receive = asked
    made: Values = {"type": "https" if kind == "https" else "http"}
    if kind == "http_proxy":
        draft.tell(service.line, "a proxy is asked for the page itself, not for one behind it")
    if request:
        made["path"] = "/" + re.sub(r"^https?://[^/]*", "", request).lstrip("/")
    if host := service.value("virtualhost"):
        made["host"] = host
    method = service.value("httpmethod", "GET").upper()
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
