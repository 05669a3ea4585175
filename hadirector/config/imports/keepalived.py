"""keepalived.conf of one director, or of several that become the nodes of one file."""

from collections.abc import Callable

from hadirector.config.imports import keepalived_services
from hadirector.config.imports.director import Director, Handler, each
from hadirector.config.imports.draft import Draft, Line, integer, seconds
from hadirector.config.imports.keepalived_services import Services
from hadirector.config.imports.keepalived_syntax import Open, Parser
from hadirector.config.imports.keepalived_tracking import Tracking
from hadirector.config.imports.keepalived_vrrp import Defaults, Vrrp
from hadirector.config.imports.merge import merge

_NOT_NEEDED = {
    "enable_script_security": "scripts never run as root",
    "script_user": "scripts run as the daemon's user, without capabilities",
    "dynamic_interfaces": "an interface may come later",
    "vrrp_skip_check_adv_addr": "a known sender's list is not compared",
    "vrrp_priority": "the unit sets the scheduling",
    "checker_priority": "the unit sets the scheduling",
}
_GARP = {
    "vrrp_garp_master_delay": "delay",
    "vrrp_garp_master_repeat": "repeat",
    "vrrp_garp_master_refresh": "refresh",
}


def read(texts: dict[str, str], config_id: str, open_file: Open) -> Draft:
    """Our configuration of these files, each of one director; `open_file` reads includes."""
    draft = Draft(", ".join(texts))
    directors = []
    for path, text in texts.items():
        director = Director(path)
        lines = Parser(draft, config_id, open_file).parse(path, text)
        _read(lines, draft, director)
        draft.left_over(lines)
        directors.append(director)
    merge(draft, directors)
    return draft


def _read(lines: list[Line], draft: Draft, director: Director) -> None:
    """Definitions first, what refers to them after."""
    defaults, tracking = Defaults(), Tracking(draft, director)
    globals_ = _Globals(draft, director, defaults)
    vrrp = Vrrp(draft, director, defaults, tracking)
    services = Services(draft, director)
    first: dict[str, Handler] = {
        "global_defs": globals_.read,
        "vrrp_script": tracking.script,
        "vrrp_track_file": tracking.thing,
        "track_file": tracking.thing,
        "vrrp_track_process": tracking.thing,
        "virtual_server_group": services.group,
    }
    for static in ("static_routes", "static_rules", "static_ipaddress"):
        first[static] = _static(draft)
    each(lines, first)
    each(lines, {"vrrp_instance": vrrp.instance, "virtual_server": services.service})
    each(lines, {"vrrp_sync_group": vrrp.group})
    vrrp.finish()


def _static(draft: Draft) -> Callable[[Line], None]:
    """What holds on any node, master or not, is the system's."""

    def tell(line: Line) -> None:
        line.take()
        for one in line.block or ():
            draft.refuse(one, "it is there without VRRP as well: give it to the system's network")

    return tell


class _Globals:
    """`global_defs`."""

    def __init__(self, draft: Draft, director: Director, defaults: Defaults) -> None:
        self._draft = draft
        self._director = director
        self._defaults = defaults

    def read(self, line: Line) -> None:
        """The whole block."""
        for one in line.take().block or ():
            first = one.rest[0] if one.rest else ""
            match one.word:
                case "router_id" | "lvs_id" if first:
                    self._director.name = first
                    one.take()
                case "vrrp_version" if first in ("2", "3"):
                    self._defaults.version = int(first)
                    one.take()
                case "vrrp_startup_delay" if value := seconds(first):
                    self._defaults.startup_delay = value
                    one.take()
                case "lvs_sync_daemon" if first:
                    self._sync(one)
                case "lvs_timeouts":
                    self._director.timeouts |= keepalived_services.timeouts(one)
                case word if word in _GARP:
                    self._garp(one, first)
                case word if word in _NOT_NEEDED:
                    self._draft.need_not(one, _NOT_NEEDED[word])

    def _garp(self, line: Line, text: str) -> None:
        repeat = line.word.endswith("repeat")
        value: object = integer(text, 1, 100) if repeat else seconds(text)
        if value is not None:
            self._defaults.garp[_GARP[line.word]] = value
            line.take()

    def _sync(self, line: Line) -> None:
        """`lvs_sync_daemon IF [INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group A]`."""
        words = list(line.take().rest)
        sync = self._director.sync
        sync["interface"] = words.pop(0)
        if words and words[0] not in ("id", "maxlen", "port", "ttl", "group"):
            self._draft.tell(line, f"both threads run all the time here, not with {words.pop(0)}")
        for key, value in zip(words[::2], words[1::2], strict=False):
            match key:
                case "id" if (number := integer(value, 0, 255)) is not None:
                    sync["sync_id"] = number
                case "port" if number := integer(value, 1, 65535):
                    sync["port"] = number
                case "group":
                    sync["group"] = value
                case _:
                    self._draft.tell(line, f"not carried over: {key} {value}")
