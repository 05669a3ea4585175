"""keepalived's virtual servers, their groups and real servers."""

from collections import Counter
from dataclasses import dataclass, field, replace

from hadirector.config.imports import endpoints, keepalived_checks, keepalived_places
from hadirector.config.imports.director import EVENTS, Director, Values, add_hook
from hadirector.config.imports.draft import Draft, Line, integer, seconds, unused
from hadirector.config.imports.ipvsadm import shared
from hadirector.config.imports.keepalived_checks import CHECKERS, Place, Timing
from hadirector.config.imports.quorum import servers_for
from hadirector.core.address import Endpoint, family
from hadirector.core.ipvs import Scheduler

_SCHEDULERS = [each.value for each in Scheduler]
_FLAGS = ("sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3")
_FORWARDS = {"NAT": "nat", "DR": "dr", "TUN": "tun"}
_NOT_NEEDED = {
    "alpha": "a server has no weight before its first verdict",
    "omega": "quorum_lost and server_down are told when they happen",
    "sorry_server_inhibit": "a fallback stays in the table with weight 0",
    "warmup": "probes are spread out by themselves",
    "lvs_sched_flags": "they are in scheduler_flags",
}


@dataclass(slots=True)
class _Service:
    """A virtual server while it is read. `places` are addresses, ranges and marks."""

    line: Line
    places: list[object]
    values: Values = field(default_factory=dict)
    manner: Values = field(default_factory=lambda: {"forward": "nat"})
    timing: Timing = field(default_factory=Timing)
    virtualhost: str = ""
    quorum: int = 0
    inhibit: bool = False
    port: int | None = None  # where all places have the same one
    kinds: frozenset[int] = frozenset()


class Services:
    """Reads one director's virtual servers."""

    def __init__(self, draft: Draft, director: Director) -> None:
        self._draft = draft
        self._director = director
        self._groups: dict[str, list[Line]] = {}

    def group(self, line: Line) -> None:
        """`virtual_server_group NAME { ... }`."""
        self._groups[line.rest[0] if line.rest else ""] = line.take().block or []

    def service(self, line: Line) -> None:
        """`virtual_server ADDRESS [PORT] | fwmark N | group NAME { ... }`."""
        name, places = self._places(line)
        line.take()
        if not places:
            self._draft.refuse(line, "no address, mark or group that is known here")
            return
        service = _Service(line, places)
        _survey(service)
        lines = line.block or []
        for one in lines:
            self._setting(one, service)
        servers: list[Values] = []
        checks: list[tuple[Line, list[str]]] = []
        for one in lines:
            if one.word == "real_server":
                server, names = self._server(one, service)
                if server is not None and server["address"] not in [s["address"] for s in servers]:
                    servers.append(server)
                    checks.append((one, names))
                elif server is not None:
                    self._draft.refuse(one, "it is there already")
        for one in lines:
            if one.word in ("sorry_server", "sorry_server_lvs_method", "s_svr"):
                self._fallback(one, service, [str(server["address"]) for server in servers])
        self._check(service, checks)
        self._emit(name, service, servers)

    # --- What it listens on

    def _places(self, line: Line) -> tuple[str, list[object]]:
        words = list(line.rest)
        if not words:
            return "", []
        if words[0] == "group" and len(words) > 1:
            found = [place for one in self._groups.get(words[1], []) for place in self._place(one)]
            return words[1], found
        if words[0] == "fwmark" and len(words) > 1:
            mark = integer(words[1], 1, 2**32 - 1)
            return f"fwmark-{words[1]}", [] if mark is None else [mark]
        place = keepalived_places.span(words)
        if place is None:
            return "", []
        protocol = next(
            (
                one.rest[0].lower()
                for one in line.block or ()
                if one.word == "protocol" and one.rest
            ),
            "tcp",
        )
        return endpoints.name_of(protocol, place), [place]

    def _place(self, line: Line) -> list[object]:
        if line.word == "fwmark" and line.rest:
            mark = integer(line.rest[0], 1, 2**32 - 1)
            found: list[object] = [] if mark is None else [mark]
        else:
            place = keepalived_places.span(list(line.words))
            found = [] if place is None else [place]
        if not found and not line.taken:
            self._draft.refuse(line, "no address, range or mark that is known here")
        line.take()
        return found

    # --- What it says of itself

    def _setting(self, line: Line, service: _Service) -> None:
        said = service.timing.said(line)
        if said is not None:
            service.timing = said
            line.take()
            return
        values = service.values
        match line.word, line.rest:
            case (("lb_algo" | "lvs_sched"), (scheduler, *flags)) if scheduler in _SCHEDULERS:
                values["scheduler"] = scheduler
                for flag in flags:
                    self._flag(line, flag, service)
                line.take()
            case (("lb_kind" | "lvs_method"), _):
                self._manner(line, service.manner)
            case word, () if word in _FLAGS:
                self._flag(line.take(), word, service)
            case "ops", ():
                values["one_packet"] = True
                line.take()
            case "virtualhost", (name,):
                service.virtualhost = name
                line.take()
            case word, _ if word in _NOT_NEEDED:
                self._draft.need_not(line, _NOT_NEEDED[word])
            case word, _ if word in EVENTS:
                add_hook(line, self._draft, self._director)
            case _:
                self._number(line, service)

    def _number(self, line: Line, service: _Service) -> None:
        """Protocol, persistence and quorum."""
        first = line.rest[0] if line.rest else ""
        match line.word:
            case "protocol" if first.lower() in ("tcp", "udp", "sctp"):
                if first.lower() != "tcp":
                    service.values["protocol"] = first.lower()
                line.take()
            case "persistence_timeout" if not first or integer(first, 1, 31 * 86400):
                self._persistence(service)["timeout"] = f"{first or 360}s"
                line.take()
            case "persistence_granularity" if length := endpoints.prefix(
                first, 6 if service.kinds == {6} else 4
            ):
                self._persistence(service)["prefix"] = length
                line.take()
            case "persistence_engine" if first == "sip":
                self._persistence(service)["engine"] = first
                line.take()
            case "quorum" if count := integer(first, 1, 2**31):
                service.quorum = count
                line.take()

    def _persistence(self, service: _Service) -> Values:
        found = service.values.setdefault("persistence", {"timeout": "360s"})
        assert isinstance(found, dict)
        return found

    def _flag(self, line: Line, flag: str, service: _Service) -> None:
        flags = service.values.setdefault("scheduler_flags", [])
        assert isinstance(flags, list)
        if flag in _FLAGS:
            flags.append(flag)
        else:
            self._draft.refuse(line, f"flag {flag} is not known here")

    def _manner(self, line: Line, manner: Values) -> None:
        """`NAT`, `DR`, `TUN [type ipip|gue|gre] [port N] [csum|nocsum|remcsum]`."""
        words = list(line.rest)
        forward = _FORWARDS.get(words.pop(0).upper() if words else "")
        if forward is None:
            self._draft.refuse(line, "NAT, DR and TUN are known here")
            return
        manner.clear()
        manner["forward"] = forward
        tunnel: Values = {}
        while words:
            word = words.pop(0)
            if word == "type" and words and words[0] in ("ipip", "gue", "gre"):
                tunnel["type"] = words.pop(0)
            elif word == "port" and words and integer(words[0], 1, 65535):
                tunnel["port"] = int(words.pop(0))
            elif word in ("csum", "remcsum", "nocsum"):
                tunnel |= {} if word == "nocsum" else {"checksum": word}
            else:
                self._draft.refuse(line, f"{word} is not known here")
                return
        if tunnel.get("type") == "gue" and "port" not in tunnel:
            tunnel["port"] = 6080
            self._draft.tell(line, "gue without a port: 6080 is taken")
        if tunnel not in ({}, {"type": "ipip"}):
            manner["tun"] = tunnel
        line.take()

    # --- Servers

    def _server(self, line: Line, service: _Service) -> tuple[Values | None, list[str]]:
        """A server, and the names of its checks."""
        place = keepalived_places.endpoint(line.take().rest, service.port or 0)
        if place is None:
            self._draft.refuse(line, "no address and port in numbers")
            return None, []
        if str(place) in service.places:
            self._draft.refuse(line, "it is where the service itself takes requests")
            return None, []
        inner, server, manner = line.block or [], {"weight": 1}, dict(service.manner)
        at = Place(place, service.timing, service.virtualhost)
        made: Values = dict(server)
        for one in inner:
            at = self._server_setting(one, service, made, manner, at)
        names = [name for one in inner if one.word in CHECKERS for name in self._checks(one, at)]
        wrong = _unreachable(place, manner, service)
        if wrong == "family":
            self._draft.refuse(line, "only a tunnel leads to a server of another family")
            return None, []
        if wrong == "port":
            assert service.port is not None, "else no port is wrong"
            self._draft.tell(line, f"{manner['forward']} leaves the port: {service.port} is taken")
            place = Endpoint(place.address, service.port)
        return {"address": str(place)} | manner | made, names

    def _checks(self, line: Line, at: Place) -> list[str]:
        return keepalived_checks.read(line, self._draft, at)

    def _server_setting(
        self, line: Line, service: _Service, made: Values, manner: Values, at: Place
    ) -> Place:
        said = at.timing.said(line)
        if said is not None:
            line.take()
            return replace(at, timing=said)
        first = line.rest[0] if line.rest else ""
        match line.word:
            case "weight" if (weight := integer(first, 0, 65535)) is not None:
                made["weight"] = weight
                line.take()
                if len(line.rest) > 1:
                    self._draft.tell(line, f"only the weight: not {' '.join(line.rest[1:])}")
            case "uthreshold" | "lthreshold" if (limit := integer(first, 0, 2**32 - 1)) is not None:
                key = "upper_threshold" if line.word == "uthreshold" else "lower_threshold"
                made[key] = limit
                line.take()
            case "inhibit_on_failure":
                service.inhibit = True
                line.take()
            case "lvs_method" | "lb_kind":
                self._manner(line, manner)
            case "virtualhost" if first:
                line.take()
                return replace(at, virtualhost=first)
            case word if word in EVENTS:
                add_hook(line, self._draft, self._director)
            case word if word in _NOT_NEEDED:
                self._draft.need_not(line, _NOT_NEEDED[word])
        return at

    def _fallback(self, line: Line, service: _Service, servers: list[str]) -> None:
        if line.word == "sorry_server_lvs_method":
            manner: Values = {}
            self._manner(line, manner)
            spare = service.values.get("fallback")
            if spare is not None:
                service.values["fallback"] = {"address": spare} | manner
            return
        place = keepalived_places.endpoint(line.rest, service.port or 0)
        if place is None or str(place) in servers:
            self._draft.refuse(line, "no address in numbers, or one of a real server")
            return
        service.values["fallback"] = str(place)
        line.take()

    def _check(self, service: _Service, checks: list[tuple[Line, list[str]]]) -> None:
        """The checks that most servers have are the service's."""
        counts = Counter(tuple(names) for _, names in checks)
        if not counts:
            return
        common = counts.most_common(1)[0][0]
        for line, names in checks:
            if tuple(names) != common:
                own = " and ".join(self._words(name) for name in names) or "none"
                rule = f"all servers of a service have the same here: {', '.join(common) or 'none'}"
                self._draft.tell(line, f"its own check is not carried over ({own}): {rule}")
                self._drop(names, {name for _, others in checks for name in others} - set(names))
        if len(common) == 1:
            service.values["check"] = common[0]
        elif common:
            service.values["check"] = {"all": list(common)}

    def _words(self, name: str) -> str:
        return " ".join(f"{key}={value}" for key, value in self._draft.checks[name].items())

    def _drop(self, names: list[str], used: set[str]) -> None:
        """Checks that nobody uses after all."""
        named = {str(one.get("check")) for one in self._director.services.values()}
        for name in names:
            if name not in used and not any(name in text for text in named):
                self._draft.checks.pop(name, None)

    # --- All of it

    def _emit(self, name: str, service: _Service, servers: list[Values]) -> None:
        weights = [int(str(server["weight"])) for server in servers]
        if service.quorum:
            count, exact = servers_for(service.quorum, weights)
            service.values["quorum"] = count
            if not exact:
                text = f"quorum {service.quorum} is of weights: {count} servers are the nearest"
                self._draft.tell(service.line, text)
        if service.inhibit:
            service.values["on_failure"] = "quiesce"
        for suffix, address, kind in keepalived_places.split(service.places):
            named = unused(name + suffix, self._director.services)
            values: Values = {"address": address} | service.values
            if isinstance(address, dict):
                values.pop("protocol", None)
            kept = [server for server in servers if _fits(server, kind)]
            self._director.services[named] = values | shared(kept)


def _survey(service: _Service) -> None:
    """Families and the port of its places."""
    spans = [str(place) for place in service.places if not isinstance(place, int)]
    ports = {integer(span.rpartition(":")[2], 0, 65535) for span in spans}
    marks = any(isinstance(place, int) for place in service.places)
    service.port = ports.pop() if len(ports) == 1 and not marks else None
    service.kinds = frozenset({6 if span.startswith("[") else 4 for span in spans})


def _unreachable(place: Endpoint, manner: Values, service: _Service) -> str:
    """What keeps packets from a server: its family or its port; empty: nothing."""
    if service.kinds and manner["forward"] != "tun" and family(place.address) not in service.kinds:
        return "family"
    plain = manner["forward"] != "nat" and service.port is not None
    return "port" if plain and service.port and place.port not in (0, service.port) else ""


def _fits(server: Values, kind: int) -> bool:
    """Whether a server can be in a service of this family; 0: of a mark, or of any."""
    six = str(server["address"]).startswith("[")
    return kind == 0 or server["forward"] == "tun" or six is (kind == 6)


def timeouts(line: Line) -> Values:
    """`lvs_timeouts tcp N tcpfin N udp N`."""
    words = list(line.take().rest)
    names = {"tcp": "tcp", "tcpfin": "tcp_fin", "udp": "udp"}
    pairs = zip(words[::2], words[1::2], strict=False)
    return {names[key]: seconds(value) or "0s" for key, value in pairs if key in names}
