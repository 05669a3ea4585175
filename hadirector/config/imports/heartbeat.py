"""heartbeat (Linux-HA): ha.cf, haresources and authkeys, with the ldirectord.cf they start.

A line of haresources names the node that has some addresses by preference: it becomes an instance
in which that node has the higher priority. Which file is which is told by its name, else by what
is in it.
"""

import os
from dataclasses import dataclass, field

from hadirector.config.imports import endpoints, ldirectord
from hadirector.config.imports.director import Values
from hadirector.config.imports.draft import Draft, Line, Told, integer, seconds, unused
from hadirector.core.address import family

_PREFERRED, _STEP = 150, 50
_FIRST_ROUTER = 51  # of the virtual_router_ids that are given out
_NOT_NEEDED = {
    "logfile": "the journal has it",
    "debugfile": "the journal has it",
    "logfacility": "the journal has it",
    "use_logd": "the journal has it",
    "debug": "see the log",
    "udpport": "VRRP has no port",
    "baud": "adverts do not go over serial lines",
    "serial": "adverts do not go over serial lines",
    "initdead": "a node that starts listens first (startup_delay)",
    "warntime": "late adverts are told by themselves",
    "crm": "there is no cluster manager",
}
_BROADCASTS = ("bcast", "mcast", "ucast")


@dataclass(slots=True)
class _Cluster:
    """What ha.cf says."""

    nodes: list[str] = field(default_factory=list)
    interval: str = ""
    dead: float = 0.0
    failback: bool = True
    interfaces: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)


def read(texts: dict[str, str]) -> Draft:
    """Our configuration of these files."""
    draft = Draft(", ".join(texts))
    kinds = {path: _kind(path, text) for path, text in texts.items()}
    cluster = _Cluster()
    for wanted in ("ha.cf", "ldirectord", "haresources", "authkeys"):
        for path, text in texts.items():
            if kinds[path] != wanted:
                continue
            match wanted:
                case "ha.cf":
                    _ha_cf(draft, cluster, _lines(path, text))
                case "ldirectord":
                    ldirectord.read_into(draft, path, text)
                case "haresources":
                    _resources(draft, cluster, _lines(path, text), kinds)
                case "authkeys":
                    _keys(draft, _lines(path, text))
    _nodes(draft, cluster)
    return draft


def _kind(path: str, text: str) -> str:
    name = os.path.basename(path)
    for kind in ("ha.cf", "haresources", "authkeys"):
        if name.startswith(kind):
            return kind
    if "ldirectord" in name or "virtual=" in text.replace(" ", ""):
        return "ldirectord"
    words = {line.words[0] for line in _lines(path, text)}
    if "auth" in words:
        return "authkeys"
    return "ha.cf" if words & {"keepalive", "deadtime", "node", *_BROADCASTS} else "haresources"


def _lines(path: str, text: str) -> list[Line]:
    """Without comments; a backslash at the end goes on with the next line."""
    found: list[Line] = []
    held: tuple[str, ...] = ()
    first = 0
    for number, raw in enumerate(text.splitlines(), 1):
        words = tuple(raw.partition("#")[0].split())
        first = first if held else number
        if words and words[-1] == "\\":
            held += words[:-1]
        elif words or held:
            found.append(Line(path, first, held + words))
            held = ()
    return found


def _ha_cf(draft: Draft, cluster: _Cluster, lines: list[Line]) -> None:
    for line in lines:
        first = line.rest[0] if line.rest else ""
        match line.word:
            case "node":
                cluster.nodes += line.take().rest
            case "keepalive" if any(other.word == "deadtime" for other in lines):
                draft.need_not(line, "advert_int follows from deadtime")
            case "keepalive" if value := _duration(first):
                cluster.interval = value
                line.take()
            case "deadtime" if value := _duration(first):
                text = f"adverts of a third of it say the same: {_third(value)} is advert_int"
                draft.tell(line, text)
                cluster.interval = _third(value)
            case "auto_failback" if first in ("on", "off", "legacy"):
                cluster.failback = first != "off"
                line.take()
            case word if word in _BROADCASTS and first:
                _medium(draft, cluster, line)
            case word if word in _NOT_NEEDED:
                draft.need_not(line, _NOT_NEEDED[word])
            case "ping" | "ping_group" | "respawn" | "apiauth" | "watchdog" | "stonith_host":
                draft.refuse(line, "track an interface, a script or a service instead")
    draft.left_over(lines)


def _medium(draft: Draft, cluster: _Cluster, line: Line) -> None:
    """An interface that heartbeats go over: adverts go over that of the addresses."""
    names = line.rest if line.word == "bcast" else line.rest[:1]
    cluster.interfaces += names
    if line.word == "ucast" and len(line.rest) > 1 and endpoints.address(line.rest[1]):
        cluster.peers.append(line.rest[1])
    draft.need_not(line, "adverts go over the interface of the addresses")


def _duration(text: str) -> str | None:
    """heartbeat's: seconds, or with `ms`."""
    if text.endswith("ms") and text[:-2].isdigit():
        return seconds(str(int(text[:-2]) / 1000))
    return seconds(text.removesuffix("s"))


def _third(duration: str) -> str:
    number = float(duration.removesuffix("ms").removesuffix("s"))
    whole = number / (1000 if duration.endswith("ms") else 1)
    return seconds(f"{min(40.0, max(0.01, round(whole / 3, 2))):g}") or "1s"


def _resources(draft: Draft, cluster: _Cluster, lines: list[Line], kinds: dict[str, str]) -> None:
    """`NODE RESOURCE ...`: an instance for each node's addresses."""
    for line in lines:
        preferred, *resources = line.words
        if preferred not in cluster.nodes:
            cluster.nodes.append(preferred)
        line.take()
        addresses: list[object] = []
        home = ""
        for resource in resources:
            name, _, rest = resource.partition("::")
            found = _address(resource if endpoints.address(name.partition("/")[0]) else rest)
            if found is not None and (not rest or name.lower().startswith("ipaddr")):
                written, interface = found
                home = home or interface
                addresses.append((written, interface))
            elif name == "ldirectord":
                _needs(draft, line, rest, kinds)
            elif name == "LVSSyncDaemonSwap":
                draft.connection_sync["interface"] = (cluster.interfaces or ["eth0"])[-1]
                draft.tell(
                    line, "connection_sync: write its interface; both threads run all the time"
                )
            else:
                draft.tell(line, f"not carried over: resource {resource}: write a hook for it")
        if addresses:
            _instance(draft, cluster, line, addresses, home)


def _needs(draft: Draft, line: Line, name: str, kinds: dict[str, str]) -> None:
    if "ldirectord" not in kinds.values():
        text = f"its services are in {name or 'ldirectord.cf'}: name that file as well"
        draft.tell(line, text)


def _address(text: str) -> tuple[str, str] | None:
    """`ADDRESS[/PREFIX[/INTERFACE[/BROADCAST]]]`: written as ours, and the interface."""
    host, *parts = text.split("/")
    found = endpoints.address(host)
    if found is None:
        return None
    most = 128 if family(found) == 6 else 32
    length = integer(parts[0], 1, most) if parts else None
    interface = next((part.partition(":")[0] for part in parts[1:2]), "")
    return f"{found}/{length or most}", interface


def _instance(
    draft: Draft, cluster: _Cluster, line: Line, addresses: list[object], home: str
) -> None:
    preferred = line.words[0]
    interface = home or (cluster.interfaces or ["eth0"])[0]
    if not home:
        draft.tell(line, f"no interface is named: {interface} is taken")
    name = unused(f"{preferred}-addresses", draft.instances)
    written = [
        text if where in ("", interface) else {"address": text, "interface": where}
        for text, where in (pair for pair in addresses if isinstance(pair, tuple))
    ]
    made: Values = {
        "interface": interface,
        "virtual_router_id": _FIRST_ROUTER + len(draft.instances),
        "priority": preferred,  # by node, once all nodes are known
        "virtual_addresses": written,
    }
    if cluster.interval:
        made["advert_int"] = cluster.interval
    if not cluster.failback:
        made["preempt"] = "never"
    draft.instances[name] = made


def _keys(draft: Draft, lines: list[Line]) -> None:
    """Secrets are not copied, nor shown."""
    if lines:
        path = "/etc/hadirector/cluster.key"
        first = lines[0]
        text = f"its keys are not copied: make new ones in {path} and write 'key_file: {path}'"
        draft.told.append(Told(first.file, first.number, text))


def _nodes(draft: Draft, cluster: _Cluster) -> None:
    names = [unused(name, ()) for name in cluster.nodes]
    for name in names:
        draft.nodes[name] = {"priority": 100}
    for instance in draft.instances.values():
        preferred = instance["priority"]
        order = sorted(cluster.nodes, key=lambda name: name != preferred)
        instance["priority"] = {
            unused(name, ()): max(1, _PREFERRED - _STEP * place) for place, name in enumerate(order)
        }
    if len(names) == 2 and len(cluster.peers) == 1:
        text = f"a peer is {cluster.peers[0]}: write each node's 'address' in nodes"
        draft.told.append(Told(draft.source, 0, text))
    if not draft.instances:
        draft.nodes.clear()
