"""Rules as `ipvsadm -S` and ipvsadm-save write them, and commands of scripts with `ipvsadm` in
front; what is edited or deleted further down (-E, -e, -D, -d, -C) counts."""

import getopt
import shlex
from dataclasses import dataclass

from hadirector.config.imports import endpoints
from hadirector.config.imports.draft import Draft, Line, Told, integer, unused
from hadirector.config.problem import shown
from hadirector.core.address import Endpoint, family
from hadirector.core.ipvs import HEAVIEST, Scheduler

_SHORT = "AEDaedCt:u:f:s:pM:r:gimb:w:x:y:on6"
_LONG = (
    *("add-service", "edit-service", "delete-service", "add-server", "edit-server"),
    *("delete-server", "clear", "tcp-service=", "udp-service=", "sctp-service=", "fwmark-service="),
    *("scheduler=", "persistent", "netmask=", "real-server=", "gatewaying", "ipip", "masquerading"),
    *("sched-flags=", "weight=", "u-threshold=", "l-threshold=", "ops", "numeric", "ipv6", "pe="),
    *("tun-type=", "tun-port=", "tun-nocsum", "tun-csum", "tun-remcsum"),
    *("set", "start-daemon=", "mcast-interface=", "syncid=", "mcast-group=", "mcast-port="),
)
_ALIASES = {
    **{"--add-service": "-A", "--edit-service": "-E", "--delete-service": "-D", "--clear": "-C"},
    **{"--add-server": "-a", "--edit-server": "-e", "--delete-server": "-d"},
    **{"--tcp-service": "-t", "--udp-service": "-u", "--fwmark-service": "-f"},
    **{"--scheduler": "-s", "--persistent": "-p", "--netmask": "-M", "--real-server": "-r"},
    **{"--gatewaying": "-g", "--ipip": "-i", "--masquerading": "-m", "--sched-flags": "-b"},
    **{"--weight": "-w", "--u-threshold": "-x", "--l-threshold": "-y", "--ops": "-o"},
    **{"--numeric": "-n", "--ipv6": "-6"},
}
_COMMANDS = ("-A", "-E", "-D", "-a", "-e", "-d", "-C", "--set", "--start-daemon")
_PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
_FORWARDS = {"-g": "dr", "-i": "tun", "-m": "nat"}
_TIMEOUT = "300"  # ipvsadm's, where -p has none


class Unlike(Exception):
    """What is wrong with a rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The options of one line, by their short names."""

    options: dict[str, str]

    def get(self, name: str, default: str = "") -> str:
        """The value of an option."""
        return self.options.get(name, default)

    @property
    def command(self) -> str:
        """What is to be done."""
        found = [each for each in _COMMANDS if each in self.options]
        if len(found) != 1:
            raise Unlike("it is no command of these: -A, -a, -E, -e, -D, -d, -C")
        return found[0]

    @property
    def service(self) -> tuple[str, Endpoint | int, int]:
        """Protocol, place or mark, and family: what names a service."""
        if "-f" in self.options:
            mark = integer(self.get("-f"), 1, 2**32 - 1)
            if mark is None:
                raise Unlike(f"{shown(self.get('-f'))} is no mark")
            return "fwmark", mark, 6 if "-6" in self.options else 4
        for option, protocol in _PROTOCOLS.items():
            if option in self.options:
                place = endpoints.with_port(self.get(option), protocol)
                if place is None:
                    text = f"{shown(self.get(option))} is no address and port in numbers"
                    raise Unlike(f"{text}: save with ipvsadm -Sn")
                return protocol, place, family(place.address)
        raise Unlike("it names no service: -t, -u, --sctp-service or -f")


def read(texts: dict[str, str]) -> Draft:
    """Our configuration of the rules in these texts, by the names of their files."""
    draft = Draft(", ".join(texts))
    names: dict[object, str] = {}
    for path, text in texts.items():
        for number, raw in enumerate(text.splitlines(), 1):
            stripped = raw.strip()
            if not stripped or stripped.startswith("#"):
                continue
            line = Line(path, number, tuple(stripped.split()))
            try:
                _obey(_parse(stripped), draft, names, line)
            except Unlike as unlike:
                draft.refuse(line, str(unlike))
    _finish(draft)
    return draft


def _parse(text: str) -> Rule:
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise Unlike(str(error)) from None
    if words and words[0].rpartition("/")[2] == "ipvsadm":
        words = words[1:]
    words, timeout = _persistence(words)
    try:
        pairs, rest = getopt.gnu_getopt(words, _SHORT, list(_LONG))
    except getopt.GetoptError as error:
        raise Unlike(error.msg) from None
    found = {_ALIASES.get(name, name): value for name, value in pairs}
    if "-p" in found:
        found["-p"] = timeout
    if "--set" in found:
        found["--set"] = " ".join(rest)
    elif rest:
        raise Unlike(f"{shown(rest[0])} belongs to no option")
    return Rule(found)


def _persistence(words: list[str]) -> tuple[list[str], str]:
    """-p may have a number behind it, which getopt knows nothing of."""
    for place, word in enumerate(words):
        if word in ("-p", "--persistent") and place + 1 < len(words):
            if words[place + 1].isdigit():
                return words[: place + 1] + words[place + 2 :], words[place + 1]
        elif word.startswith("-p") and word[2:].isdigit():
            return [*words[:place], "-p", *words[place + 1 :]], word[2:]
    return words, _TIMEOUT


def _obey(rule: Rule, draft: Draft, names: dict[object, str], line: Line) -> None:
    match rule.command:
        case "-C":
            draft.services.clear()
            names.clear()
        case "-A" | "-E":
            _service(rule, draft, names)
        case "-D":
            name = _known(rule, names)
            del draft.services[name], names[rule.service]
        case "-a" | "-e":
            _server(rule, draft, names)
        case "-d":
            servers = _servers(draft, _known(rule, names))
            servers.pop(str(_place(rule)), None)
        case "--set":
            _timeouts(rule, draft)
        case "--start-daemon":
            _sync(rule, draft)
    line.take()


def _known(rule: Rule, names: dict[object, str]) -> str:
    if rule.service not in names:
        raise Unlike("no line before it adds that service")
    return names[rule.service]


def _servers(draft: Draft, name: str) -> dict[str, dict[str, object]]:
    """By endpoint while they may still change; `_finish` makes a list of them."""
    servers = draft.services[name]["real_servers"]
    assert isinstance(servers, dict)
    return servers


def _service(rule: Rule, draft: Draft, names: dict[object, str]) -> None:
    protocol, place, kind = rule.service
    if isinstance(place, int):
        name = f"fwmark-{place}" + ("-ipv6" if kind == 6 else "")
        address: object = {"fwmark": place, "family": f"ipv{kind}"}
    else:
        name, address = endpoints.name_of(protocol, str(place)), str(place)
    manner = _manner(rule, kind)  # before anything is noted: it may be wrong
    old = draft.services.get(names.get(rule.service, ""), {})
    if rule.service not in names:
        names[rule.service] = unused(name, draft.services)
    service: dict[str, object] = {"address": address}
    if protocol not in ("tcp", "fwmark"):
        service["protocol"] = protocol
    service |= manner
    service["real_servers"] = old.get("real_servers", {})
    draft.services[names[rule.service]] = service


def _manner(rule: Rule, kind: int) -> dict[str, object]:
    scheduler = rule.get("-s", "wlc")
    known = [each.value for each in Scheduler]
    if scheduler not in known:
        raise Unlike(f"scheduler {shown(scheduler)} is none of {', '.join(known)}")
    manner: dict[str, object] = {"scheduler": scheduler}
    if flags := [flag for flag in rule.get("-b").split(",") if flag]:
        manner["scheduler_flags"] = flags
    if "-p" in rule.options:
        persistence: dict[str, object] = {"timeout": f"{rule.get('-p')}s"}
        if "-M" in rule.options:
            length = endpoints.prefix(rule.get("-M"), kind)
            if length is None:
                raise Unlike(f"{shown(rule.get('-M'))} is no mask without holes")
            persistence["prefix"] = length
        if "--pe" in rule.options:
            persistence["engine"] = rule.get("--pe")
        manner["persistence"] = persistence
    if "-o" in rule.options:
        manner["one_packet"] = True
    return manner


def _place(rule: Rule) -> Endpoint:
    protocol, service, _ = rule.service
    default = 0 if isinstance(service, int) else service.port
    place = endpoints.with_port(rule.get("-r"), protocol, default)
    if place is None:
        raise Unlike(f"{shown(rule.get('-r'))} is no address and port in numbers")
    return place


def _server(rule: Rule, draft: Draft, names: dict[object, str]) -> None:
    name, place = _known(rule, names), _place(rule)
    forward = next((word for flag, word in _FORWARDS.items() if flag in rule.options), "dr")
    server: dict[str, object] = {"address": str(place), "forward": forward}
    if forward == "tun":
        server |= _tunnel(rule)
    weight = integer(rule.get("-w", "1"), 0, HEAVIEST)
    if weight is None:
        raise Unlike(f"weight {shown(rule.get('-w'))} is no number from 0 to {HEAVIEST}")
    server["weight"] = weight
    for flag, key in (("-x", "upper_threshold"), ("-y", "lower_threshold")):
        limit = integer(rule.get(flag, "0"), 0, 2**32 - 1)
        if limit is None:
            raise Unlike(f"{shown(rule.get(flag))} is no number of connections")
        if limit:
            server[key] = limit
    _servers(draft, name)[str(place)] = server


def _tunnel(rule: Rule) -> dict[str, object]:
    kind = rule.get("--tun-type", "ipip")
    if kind not in ("ipip", "gue", "gre"):
        raise Unlike(f"tunnel type {shown(kind)} is none of ipip, gue, gre")
    tunnel: dict[str, object] = {"type": kind}
    if kind == "gue":
        port = integer(rule.get("--tun-port"), 1, 65535)
        if port is None:
            raise Unlike("gue needs --tun-port")
        tunnel["port"] = port
    for word in ("csum", "remcsum"):
        if f"--tun-{word}" in rule.options:
            tunnel["checksum"] = word
    return {} if tunnel == {"type": "ipip"} else {"tun": tunnel}


def _timeouts(rule: Rule, draft: Draft) -> None:
    numbers = [integer(word, 0, 2**31 // 1000) for word in rule.get("--set").split()]
    if len(numbers) != 3 or None in numbers:
        raise Unlike("--set has three numbers of seconds: tcp tcpfin udp")
    for key, number in zip(("tcp", "tcp_fin", "udp"), numbers, strict=True):
        if number:
            draft.timeouts[key] = f"{number}s"


def _sync(rule: Rule, draft: Draft) -> None:
    """Both threads run on both nodes here: one section for either line."""
    if "--mcast-interface" not in rule.options:
        raise Unlike("it names no --mcast-interface")
    sync: dict[str, object] = {"interface": rule.get("--mcast-interface")}
    for option, key in (("--syncid", "sync_id"), ("--mcast-port", "port")):
        if option in rule.options:
            number = integer(rule.get(option), 0, 65535)
            if number is None:
                raise Unlike(f"{shown(rule.get(option))} is no number")
            sync[key] = number
    if "--mcast-group" in rule.options:
        sync["group"] = rule.get("--mcast-group")
    draft.connection_sync.update(sync)


def _finish(draft: Draft) -> None:
    """Lists of servers; what all servers of a service share is said once, at the service."""
    if draft.services:
        text = "ipvsadm has no checks: each server counts as up until the services get a 'check'"
        draft.told.insert(0, Told(draft.source, 0, text))
    for service in draft.services.values():
        servers = service.pop("real_servers")
        assert isinstance(servers, dict)
        service |= shared(list(servers.values()))


def shared(servers: list[dict[str, object]]) -> dict[str, object]:
    """`forward` and `tun` of the service, and its servers in their shortest form."""
    common: dict[str, object] = {}
    for key in ("forward", "tun"):
        values = [server.get(key) for server in servers]
        if values and values[0] is not None and all(value == values[0] for value in values):
            common[key] = values[0]
            servers = [{k: v for k, v in server.items() if k != key} for server in servers]
    if common.get("forward") == "nat":
        del common["forward"]
    return common | {"real_servers": [_shortest(server) for server in servers]}


def _shortest(server: dict[str, object]) -> object:
    if server.get("weight") == 1:
        server = {key: value for key, value in server.items() if key != "weight"}
    return server["address"] if server.keys() == {"address"} else server
