"""The sealed relay for people: its lines of `hadirector sync`."""

from typing import Any


def lines(relay: dict[str, Any] | None) -> list[str]:
    """What each peer's relay brought, and what was refused; nothing without a relay."""
    if relay is None:
        return []
    told = [_peer(name, peer) for name, peer in relay["peers"].items()]
    for name, peer in relay["peers"].items():
        # Of each start of a peer some are: they were sent before it had heard of us.
        refused = {flaw: count for flaw, count in peer["refused"].items() if flaw != "stale"}
        if refused:
            told.append(f"relay of {name}, refused: {_counts(refused)}")
    if relay["strangers"]:
        told.append(f"relay, refused of nobody known: {_counts(relay['strangers'])}")
    if relay["local"]:
        text = "datagrams of other programs of this host on the private interface, not sealed"
        told.append(f"relay: {relay['local']} {text}")
    if relay["overrun"]:
        told.append(f"relay: {relay['overrun']} datagrams lost between the kernel and the daemon")
    return told


def _peer(name: str, peer: dict[str, Any]) -> str:
    if not peer["alive"]:
        return f"relay of {name}: not heard"
    text = f"relay of {name}: {peer['taken']} datagrams taken, key {peer['key']}"
    if peer["again"]:
        text += f", {peer['again']} of them sent again"
    if peer["lost"]:
        text += f", {peer['lost']} lost"
    if peer["behind_s"]:
        text += f", {peer['behind_s']:.1f} s behind"
    return text


def _counts(refused: dict[str, int]) -> str:
    return ", ".join(f"{count} {flaw.replace('_', ' ')}" for flaw, count in refused.items())
