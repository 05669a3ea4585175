"""`drain --wait`: what is left on a server, again and again, until it is safe to reboot."""

import json
import sys
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from hadirector.cli.live import Unreachable, ask

SAFE, LATE, REFUSED, FAILED = 0, 4, 4, 1
EVERY = 1.0  # seconds between looks
TELL_EVERY = 5.0  # seconds between lines about a server that did not change
PATIENCE = 30.0  # seconds that no director answers: one that died is replaced sooner


def is_known_here(socket: str, servers: Sequence[str]) -> bool:
    """Whether this node counts the connections of these; where it does not, that is told. To be
    asked first: an order that cannot be waited for would stay, and replace an earlier one."""
    for server in servers:
        code, found = ask(socket, "GET", _target(server))
        known = found["servers"].items() if code == HTTPStatus.OK else ()
        for name, left in known:
            if left["elsewhere"]:
                text = "only the master knows what is left, and nothing was ordered"
                print(f"refused: {name}: {left['why_not']}: {text}", file=sys.stderr)
                return False
    return True


def until_safe(socket: str, server: str, deadline: float, as_json: bool) -> int:
    """Print what is left until nothing is; 0 safe, 4 the deadline passed, 1 nobody knows here."""
    target = _target(server)
    began = time.monotonic()
    told_at: dict[str, tuple[str, float]] = {}
    answered = began
    while True:
        now = time.monotonic()
        found: dict[str, Any] | None = None
        try:
            code, found = ask(socket, "GET", target)
            answered = now
        except Unreachable:
            if now - answered > PATIENCE:
                raise
            code = 0
        if code not in (0, 200):
            print(f"failed: {(found or {}).get('error', code)}", file=sys.stderr)
            return FAILED
        if found is not None:
            if not as_json:
                _tell(found, told_at, now)
            elsewhere = [s["why_not"] for s in found["servers"].values() if s["elsewhere"]]
            if found["safe"] or elsewhere or now - began >= deadline:
                return _end(found, elsewhere, as_json)
        time.sleep(min(EVERY, max(0.05, deadline - (now - began))))


def _target(server: str) -> str:
    return f"/v1/servers/drain?{urlencode({'server': server})}"


def _end(found: dict[str, Any], elsewhere: list[str], as_json: bool) -> int:
    if as_json:
        print(json.dumps(found))
    if found["safe"]:
        if not as_json:
            print("safe to reboot")
        return SAFE
    if elsewhere:
        print(f"failed: {elsewhere[0]}: only the master knows what is left", file=sys.stderr)
        return FAILED
    left = [f"{name}: {s['why_not']}" for name, s in found["servers"].items() if not s["safe"]]
    print(f"not safe, and the deadline has passed: {'; '.join(left)}", file=sys.stderr)
    return LATE


def _tell(found: dict[str, Any], told_at: dict[str, tuple[str, float]], now: float) -> None:
    for name, server in found["servers"].items():
        weight = "not in IPVS" if server["weight"] is None else f"weight {server['weight']}"
        counts = f"{server['active']} active, {server['inactive']} inactive connections"
        if server["templates"]:
            counts += f", {server['templates']} persistence templates"
        before, at = told_at.get(name, ("", 0.0))
        line = f"{name}: {weight}, {counts}"
        if line == before and now - at < TELL_EVERY:
            continue
        told_at[name] = (line, now)
        print(line + _ages(server, found["measure"]), flush=True)


def _ages(server: dict[str, Any], measure: str) -> str:
    if server["safe"]:
        return "; nothing is left that a reboot would hurt"
    told = ""
    if server["oldest_s"] is not None and server["oldest_s"] >= 1:
        told += f"; the oldest for at least {_spell(server['oldest_s'])}"
    if server["eta_s"]:
        told += f"; at this pace none in {_spell(server['eta_s'])}"
    elif server["longest_s"]:
        told += f"; if all are idle none in {_spell(server['longest_s'])}"
    if measure != "exact":
        told += "; the table is too large to read ages from"
    return told


def _spell(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
