"""The daemon's JSON as text for people: plain columns, no colour, nothing cut off."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from hadirector.cli import sync_table


def status(told: dict[str, Any]) -> str:
    """The whole of status on one screen: role and worst thing, then every trouble."""
    ready = "yes" if told["ready"] else "no"
    able = f"may take over: {ready} ({told['ready_reason']}){_but(told['instances'])}"
    config = told["config"]
    loaded = f"{config['path']}, loaded {_since(config['loaded_at'])} ago"
    about = f"hadirector {told['version']} in {told['cluster']}, {loaded}"
    about += f", digest {config['digest'][:12]}"
    standby = told["standby"]
    if standby is not None:
        why = f": {standby['reason']}" if standby["reason"] else ""
        about = f"STANDBY for {_since(standby['since'])}{why}\n{about}"
    parts = [told["headline"], *(f"TROUBLE: {text}" for text in told["trouble"]), able, about]
    parts += [_instances(told), _tracked(told["instances"]), _services(told["services"])]
    parts.append(_orders(told.get("overrides", [])))
    parts += [_sync(told["sync"]), _hooks(told["hooks"]), _peers(told["peers"])]
    parts.append(_processes(told["processes"]))
    return "\n".join(part for part in parts if part)


def _but(instances: dict[str, Any]) -> str:
    """What a node that is ready cannot take over all the same."""
    faults = [
        f"{name}/{family}"
        for name, instance in instances.items()
        for family, router in instance["routers"].items()
        if router["state"] == "fault"
    ]
    return f", but not {', '.join(faults)}, in fault" if faults else ""


def check(told: dict[str, Any]) -> str:
    """Role and worst thing, and every trouble: what a monitor keeps of it."""
    return "\n".join([told["headline"], *(f"TROUBLE: {text}" for text in told["trouble"])])


def event(told: dict[str, Any]) -> str:
    """One line: when, what, whom, why."""
    instant = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told["at"]))
    millis = int(told["at"] * 1000) % 1000
    inputs = " ".join(f"{name}={value}" for name, value in told["inputs"].items())
    tail = f"  [{inputs}]" if inputs else ""
    return f"{instant}.{millis:03d}  {told['kind']:<16} {told['subject']}: {told['reason']}{tail}"


def explanation(told: dict[str, Any]) -> str:
    """What holds, then how it came."""
    lines = list(told["now"])
    if told["history"]:
        lines += ["", *(event(one) for one in told["history"])]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Left-aligned columns as wide as their widest cell."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _sync(sync: dict[str, Any]) -> str:
    if sync["transport"] is None:
        return ""
    return "\nconnection sync\n" + "\n".join(
        f"  {line}" for line in sync_table.table(sync).split("\n")
    )


def _instances(told: dict[str, Any]) -> str:
    rows = [
        (
            f"{name}/{family}",
            router["state"],
            f"{router['effective_priority']}/{router['priority']}",
            router["master"] or "-",
            _since(router["since"]),
            _addresses(router),
            router["reason"] + _hold(instance["hold"]),
        )
        for name, instance in told["instances"].items()
        for family, router in instance["routers"].items()
    ]
    if not rows:
        return ""
    head = ("INSTANCE", "STATE", "PRIORITY", "MASTER", "SINCE", "ADDRESSES", "REASON")
    return "\n" + table(head, rows)


def _addresses(router: dict[str, Any]) -> str:
    """`here: 192.0.2.10/24 (leased)`; a master without one of them has something to explain."""
    every, held = router["addresses"], router["held"]
    rest = [address for address in every if address not in held]
    absent = "MISSING" if router["state"] == "master" else "not here"
    leased = " (leased)" if router["leased"] else ""
    told = [f"here: {', '.join(held)}{leased}"] if held else []
    told += [f"{absent}: {', '.join(rest)}"] if rest else []
    return "; ".join(told) or "-"


def _tracked(instances: dict[str, Any]) -> str:
    """One line for each tracked thing, however many instances track it."""
    lines: dict[str, tuple[Any, list[str]]] = {}
    for name, instance in instances.items():
        for what, one in instance["tracked"].items():
            users = lines.setdefault(what, (one, []))[1]
            users.append(f"{name}: {one['effect']}" if one["effect"] else name)
    if not lines:
        return ""
    rows = [
        (what, one["health"], _since(one["since"]), ", ".join(users), one["reason"])
        for what, (one, users) in lines.items()
    ]
    return "\n" + table(("TRACKED", "HEALTH", "SINCE", "BY", "REASON"), rows)


def _hooks(hooks: list[dict[str, Any]]) -> str:
    rows = [
        (
            hook["command"][0],
            " ".join(hook["events"]),
            hook["running"] or "-",
            hook["waiting"],
            "; ".join(hook["failing"]) or "-",
        )
        for hook in hooks
    ]
    return "\n" + table(("HOOK", "EVENTS", "RUNNING", "WAITING", "FAILING"), rows) if rows else ""


def _hold(hold: dict[str, Any] | None) -> str:
    return "" if hold is None else f" [held for {_since(hold['since'])}: {hold['reason']}]"


def _services(services: dict[str, Any]) -> str:
    parts = []
    for name, service in services.items():
        title = f"{name}  {service['protocol']} {service['address']}  {service['scheduler']}"
        parts.append(f"\n{title} {service['forward']}  {service['state']}: {service['reason']}")
        parts.append(_servers(service["servers"]))
        spare = service["fallback"]
        if spare is not None:
            use = "serves" if spare["effective_weight"] else "waits"
            parts.append(f"  fallback {spare['address']} {use}")
    return "\n".join(parts)


def _servers(servers: dict[str, Any]) -> str:
    head = ("  SERVER", "WEIGHT", "HEALTH", "ADMIN", "ACTIVE", "INACTIVE", "REASON")
    rows = [
        (
            f"  {address}",
            f"{server['effective_weight']}/{server['weight']}",
            server["health"],
            server["admin"],
            server["active"],
            server["inactive"],
            "; ".join(text for text in (server["reason"], server.get("views")) if text),
        )
        for address, server in servers.items()
    ]
    return table(head, rows)


def _orders(orders: Sequence[dict[str, Any]]) -> str:
    """What operators ordered of servers and still holds."""
    head = ("\nORDERS", "WHAT", "BY", "FOR", "UNTIL", "REASON")
    rows = [
        (
            order["server"],
            order["what"],
            f"{order['by']} on {order['node']}",
            _since(order["at"]),
            "no end" if order["expires"] is None else _instant(order["expires"]),
            order["reason"],
        )
        for order in orders
    ]
    return table(head, rows) if rows else ""


def _instant(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _peers(peers: dict[str, Any]) -> str:
    if not peers:
        return ""
    rows = [
        (
            name,
            "alive" if peer["alive"] else "silent",
            _since(peer["seen"]),
            *(_said_by(peer) if peer["alive"] else ("-", "-", "-")),
        )
        for name, peer in peers.items()
    ]
    return "\n" + table(("PEER", "PRESENCE", "HEARD", "STATE", "READY", "REASON"), rows)


def _said_by(peer: dict[str, Any]) -> tuple[str, str, str]:
    states = " ".join(f"{router}={state}" for router, state in peer["state"].items())
    return states or "-", "yes" if peer["ready"] else "no", peer["reason"] or "-"


def _processes(processes: dict[str, Any]) -> str:
    rows = [
        (name, p["pid"], _since(p["since"]), p["restarts"], p["lag_ms_p99"], p["lag_ms_max"])
        for name, p in processes.items()
    ]
    return "\n" + table(("PROCESS", "PID", "UP", "RESTARTS", "LAG P99 MS", "LAG MAX MS"), rows)


def _since(instant: float | None) -> str:
    if instant is None:
        return "never"
    seconds = max(0.0, time.time() - instant)
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s"
