"""keepalived's VRRP: instances and sync groups, and what they track."""

from dataclasses import dataclass, field

from hadirector.config.imports import endpoints, keepalived_routes
from hadirector.config.imports.director import EVENTS, Director, Values, add_hook
from hadirector.config.imports.draft import Draft, Line, integer, seconds, unused
from hadirector.config.imports.keepalived_tracking import RAISED, Tracking
from hadirector.core.address import family

_BASE = 100  # keepalived's priority where none is written
_NOT_NEEDED = {
    "state": "the election decides by priority",
    "promote_secondaries": "done where it is needed",
    "preempt": "that is the default",
    "debug": "see the log",
    "native_ipv6": "that is the default",
}
_GARP = {
    "garp_master_delay": "delay",
    "garp_master_repeat": "repeat",
    "garp_master_refresh": "refresh",
}


@dataclass(slots=True)
class Defaults:
    """Of global_defs, for instances that say nothing else."""

    version: int = 2
    garp: Values = field(default_factory=dict)
    startup_delay: str = ""


class Vrrp:
    """Reads one director's instances and groups."""

    def __init__(
        self, draft: Draft, director: Director, defaults: Defaults, tracking: Tracking
    ) -> None:
        self._draft = draft
        self._director = director
        self._defaults = defaults
        self._tracking = tracking
        self._groups: list[tuple[str, Line]] = []

    def instance(self, line: Line) -> None:
        """`vrrp_instance NAME { ... }`."""
        name = unused(line.rest[0] if line.rest else "instance", self._director.instances)
        made: Values = {"priority": _BASE}
        version = self._defaults.version
        home = next((one.rest[0] for one in line.block or () if one.word == "interface"), "eth0")
        garp = dict(self._defaults.garp)
        for one in line.take().block or ():
            if one.word == "version" and one.rest and one.rest[0] in ("2", "3"):
                version = int(one.take().rest[0])
            elif one.word in _GARP and one.rest and _is_garp(one):
                garp[_GARP[one.word]] = _garp(one.take())
            elif one.word in _NOT_NEEDED:
                self._draft.need_not(one, _NOT_NEEDED[one.word])
            elif one.word in EVENTS:
                add_hook(one, self._draft, self._director)
            else:
                self._setting(one, made, name, home)
        self._finish(line, made, version, garp)
        self._director.instances[name] = made

    def group(self, line: Line) -> None:
        """`vrrp_sync_group NAME { group { A B } ... }`, or the names without `group`."""
        name = unused(line.rest[0] if line.rest else "group", self._director.groups)
        members: list[str] = []
        for one in line.take().block or ():
            if one.word == "group":
                inner = one.take().block or []
                members += [word for each in inner for word in each.take().words]
            elif one.word in EVENTS:
                add_hook(one, self._draft, self._director)
            elif one.block is None and len(one.words) == 1 and "_" not in one.word[1:-2]:
                members += one.take().words
        self._director.groups[name] = [unused(member, ()) for member in members]
        self._groups.append((name, line))

    def finish(self) -> None:
        """What groups track counts for each member."""
        for name, line in self._groups:
            for member in self._director.groups[name]:
                made = self._director.instances.get(member)
                for one in line.block or () if made is not None else ():
                    if self._tracking.knows(one):
                        self._tracking.add(one, made or {})

    def _setting(self, line: Line, made: Values, name: str, home: str) -> None:
        """One line of an instance; what is not known here stays untaken."""
        value = _plain(line)
        if value is not None:
            made |= value
            line.take()
            return
        if self._tracking.knows(line):
            self._tracking.add(line, made)
        match line.word:
            case "use_vmac":
                made["vmac"] = True
                line.take()
                if line.rest:
                    self._draft.tell(line, f"the device has a name of ours, not {line.rest[0]}")
            case "lvs_sync_daemon_interface" if line.rest:
                self._director.sync.setdefault("interface", line.take().rest[0])
            case "authentication":
                self._authentication(line, made, name)
            case "auth_hmac":
                self._hmac(line, made)
            case "unicast_src_ip" | "unicast_peer":
                self._unicast(line, name)
            case word if word in _LISTS:
                made[_LISTS[word]] = self._list(line, home)

    def _list(self, line: Line, home: str) -> list[object]:
        if line.word == "virtual_routes":
            return keepalived_routes.routes(line, self._draft)
        if line.word == "virtual_rules":
            return keepalived_routes.rules(line, self._draft)
        return self._addresses(line, home)

    def _addresses(self, line: Line, home: str) -> list[object]:
        made: list[object] = []
        for one in line.take().block or ():
            found = self._address(one, home)
            if found in made:
                self._draft.refuse(one, "it is there already")
            elif found is not None:
                made.append(found)
        return made

    def _address(self, line: Line, home: str) -> object | None:
        """`ADDRESS[/PREFIX] [dev IF] [...]`."""
        text, *words = line.words
        host, slash, length = text.partition("/")
        found = endpoints.address(host)
        most = 128 if found is not None and family(found) == 6 else 32
        if found is None or (slash and integer(length, 1, most) is None):
            self._draft.refuse(line, "no address in numbers")
            return None
        line.take()
        interface, lost = home, []
        while words:
            word = words.pop(0)
            value = words.pop(0) if words and word in _WITH_VALUE else ""
            if word == "dev" and value:
                interface = value
            else:
                lost.append(f"{word} {value}".strip())
        if lost:
            self._draft.tell(line, f"of {found} not carried over: {', '.join(lost)}")
        written = f"{found}/{length or most}"
        return written if interface == home else {"address": written, "interface": interface}

    def _authentication(self, line: Line, made: Values, name: str) -> None:
        kind = ""
        for one in line.take().block or ():
            if one.word == "auth_type" and one.rest:
                kind = one.take().rest[0].upper()
            elif one.word == "auth_pass":
                one.take()
        if kind == "PASS":
            path = f"/etc/hadirector/vrrp-{name}.pass"
            made["authentication"] = {"pass": path}
            self._draft.tell(line, f"write the password into {path}, readable for the daemon only")
        else:
            self._draft.refuse(line, f"authentication by {kind or 'nothing'} is not known here")

    def _hmac(self, line: Line, made: Values) -> None:
        for one in line.take().block or ():
            one.take()
        made["authentication"] = "hmac"
        path = "/etc/hadirector/cluster.key"
        self._draft.top["key_file"] = path
        text = f"write the keys into {path}, one 'ID HEX' a line, the one that signs first"
        self._draft.tell(line, f"{text}; modes and windows are not carried over")

    def _unicast(self, line: Line, name: str) -> None:
        source, peers = self._director.unicast.setdefault(name, ("", []))
        if line.word == "unicast_src_ip" and line.rest:
            source = str(endpoints.address(line.rest[0]) or "")
        for one in line.take().block or ():
            found = endpoints.address(one.words[0])
            if found is None or len(one.words) > 1:
                self._draft.refuse(one, "only the address is known here")
            if found is not None:
                peers.append(found)
                one.take()
        self._director.unicast[name] = (source, peers)

    def _finish(self, line: Line, made: Values, version: int, garp: Values) -> None:
        """What depends on the whole instance."""
        raised, base = made.pop(RAISED, 0), made["priority"]
        if isinstance(raised, int) and isinstance(base, int) and raised:
            made["priority"] = min(254, base + raised)
        addresses = [str(one) for one in _listed(made.get("virtual_addresses"))]
        four = [one for one in addresses if ":" not in one.replace("':", "").partition(",")[0]]
        if version == 2 and (four or not addresses):
            made["version"] = 2
            interval = str(made.get("advert_int", "1s"))
            if interval.endswith("ms") or "." in interval:
                made["advert_int"] = "1s"
                self._draft.tell(line, f"advert_int {interval}: version 2 counts whole seconds: 1s")
        elif isinstance(made.get("authentication"), dict):
            del made["authentication"]
            self._draft.tell(line, "its password is left out: version 3 has none")
        if garp:
            made["garp"] = garp
        if self._defaults.startup_delay:
            made["startup_delay"] = self._defaults.startup_delay
        for key in ("excluded_addresses", "virtual_routes", "virtual_rules"):
            if made.get(key) == []:
                del made[key]


_LISTS = {
    "virtual_ipaddress": "virtual_addresses",
    "virtual_ipaddress_excluded": "excluded_addresses",
    "virtual_routes": "virtual_routes",
    "virtual_rules": "virtual_rules",
}


def _plain(line: Line) -> Values | None:
    """A setting of one word or number; None when the line is none of these, or wrong."""
    first = line.rest[0] if line.rest else ""
    value: object | None = None
    match line.word:
        case "interface":
            value = first or None
        case "virtual_router_id" | "priority":
            value = integer(first, 1, 255)
        case "advert_int" | "preempt_delay":
            value = seconds(first)
        case "nopreempt":
            return {"preempt": "never"}
        case "accept" | "no_accept":
            return {"accept": line.word == "accept"}
    return None if value is None else {line.word: value}


_WITH_VALUE = (
    *("dev", "brd", "broadcast", "label", "scope", "peer", "preferred_lft", "valid_lft"),
    *("track_group", "use_vmac"),
)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_garp(line: Line) -> bool:
    if line.word == "garp_master_repeat":
        return integer(line.rest[0], 1, 100) is not None
    return seconds(line.rest[0]) is not None


def _garp(line: Line) -> object:
    """A count, or a duration."""
    if line.word == "garp_master_repeat":
        return int(line.rest[0])
    return seconds(line.rest[0]) or "0s"
