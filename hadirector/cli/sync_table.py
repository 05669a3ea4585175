"""Connection sync for people: the lines of `hadirector sync`, and of its part of status."""

import time
from typing import Any

from hadirector.cli import relay_table


def table(sync: dict[str, Any]) -> str:
    """The lines of `hadirector sync`."""
    if sync["transport"] is None:
        return "connection sync: not configured"
    threads = " and ".join(sync["threads"]) or "none"
    lines = [
        f"{sync['role']}, transport {sync['transport']}, resync {sync['resync']}; "
        f"kernel threads: {threads}"
    ]
    if sync["known"] is not None:
        lines.append(_known(sync))
    for word, others in (("standby", sync["standbys"]), ("master", sync["masters"])):
        lines += [_standing(word, node, one) for node, one in others.items()]
    if sync["role"] == "backup" and sync["ready"] is not None:
        ready = "ready to take over" if sync["ready"] else "NOT READY"
        lines.append(f"{ready}: {sync['reason']}")
    elif not sync["standbys"]:
        lines.append("no standby is connected: connections would be lost with this node")
    if sync["last_resync"] is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sync["last_resync"]))
        lines.append(f"whole table sent last: {at}")
    refused = ", ".join(f"{count} {flaw}" for flaw, count in sync["refused"].items())
    if refused:
        lines.append(f"datagrams refused: {refused}")
    lines += relay_table.lines(sync["relay"])
    if sync["unguarded"]:
        lines.append(f"warning: {sync['unguarded']}")
    if sync["kept_out"]:
        lines.append(f"{sync['kept_out']} connections cannot be kept: changed sequence numbers")
    return "\n".join(lines)


def _known(sync: dict[str, Any]) -> str:
    source = {
        "table": "read from the kernel's table",
        "stream": "as heard on the sync stream",
    }[sync["source"]]
    text = f"{sync['known']} connections known here, {source}"
    return f"{text}; the kernel counts {sync['unseen']} more" if sync["unseen"] else text


def _standing(word: str, node: str, one: dict[str, Any]) -> str:
    if not one["compared"]:
        return f"{word} {node}: {one['reason']}"
    share = _percent(one["completeness"])
    text = f"{word} {node}: {share} of {one['connections']} connections ({one['measure']})"
    if one["lag_s"] is not None:
        text += f", last complete {one['lag_s']:.0f} s ago"
    if one["missing"]:
        text += f", {one['missing']} missing"
    if one["lost"]:
        text += f", {one['lost']} datagrams dropped by its kernel"
    if not one["ready"]:
        text += f"; not ready: {one['reason']}"
    return text


def _percent(share: float) -> str:
    """Never 100 % while something is missing."""
    return "100 %" if share >= 100 else f"{min(share, 99.99):.2f} %"
