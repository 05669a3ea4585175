"""keepalived's routes and rules, which are nearly iproute2's, as ours."""

import ipaddress
from collections.abc import Callable

from hadirector.config.imports import endpoints
from hadirector.config.imports.director import Values
from hadirector.config.imports.draft import Draft, Line, integer

_ROUTE = {
    **{"via": "via", "gw": "via", "dev": "interface", "src": "source"},
    **{"table": "table", "metric": "metric", "priority": "metric", "preference": "metric"},
}
_RULE = {
    **{"from": "from", "to": "to", "table": "table", "lookup": "table"},
    **{"priority": "priority", "preference": "priority", "pref": "priority", "order": "priority"},
}


def routes(line: Line, draft: Draft) -> list[object]:
    """Those that the master holds."""
    return _all(line, draft, _route)


def rules(line: Line, draft: Draft) -> list[object]:
    """Those that the master holds."""
    return _all(line, draft, _rule)


def _all(line: Line, draft: Draft, read: Callable[[list[str]], Values | str]) -> list[object]:
    made: list[object] = []
    for one in line.take().block or ():
        found = read(list(one.words))
        if isinstance(found, str):
            draft.refuse(one, found)
        else:
            one.take()
            made.append(found)
    return made


def _route(words: list[str]) -> Values | str:
    """A route, or why it is none of ours."""
    made: Values = {}
    while words:
        word = words.pop(0)
        if word == "to" and words:
            word = words.pop(0)
        if word == "onlink":
            made["onlink"] = True
        elif word in _ROUTE:
            if not words:
                return f"{word} without a value"
            value = words.pop(0)
            key = _ROUTE[word]
            if key in ("via", "source"):
                value = str(endpoints.address(value) or "")
            made[key] = _number(value)
            if made[key] == "":
                return f"{word} has no address"
        elif "to" not in made and (network := _network(word)):
            made["to"] = network
        else:
            return f"{word} is not known here"
    if "to" not in made or not made.keys() & {"via", "interface"}:
        return "it leads nowhere"
    return {"to": made.pop("to")} | made


def _rule(words: list[str]) -> Values | str:
    made: Values = {}
    while words:
        word = words.pop(0)
        if word not in _RULE or not words:
            return f"{word} is not known here"
        value, key = words.pop(0), _RULE[word]
        if key in ("from", "to"):
            network = _network(value)
            if not network:
                return f"{value} is no prefix"
            made[key] = network
        else:
            made[key] = _number(value)
    if "table" not in made or not made.keys() & {"from", "to"}:
        return "it has no table, or holds for everything"
    return made


def _number(value: str) -> object:
    found = integer(value, 0, 2**32 - 1)
    return value if found is None else found


def _network(text: str) -> str:
    """A prefix; its host bits are cut off, as the kernel would refuse them."""
    if text in ("default", "any", "all"):
        return "default"
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    return "default" if found.prefixlen == 0 else str(found)
