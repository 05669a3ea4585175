"""The routes and rules that move with an instance, as ip-route(8) and ip-rule(8) have them.

A table is a number or a name. Names stand in the node's rt_tables, which only the daemon's own
reader looks at: `check` may run elsewhere, takes any name, and opens no file but the configuration.
"""

from collections.abc import Mapping
from pathlib import Path

from hadirector.config import addresses, scalars
from hadirector.config.nodes import Nodes, per_node
from hadirector.config.problem import Wrong, listed
from hadirector.config.reader import Parse, Section
from hadirector.config.tree import Tree
from hadirector.core.address import Family
from hadirector.core.settings.instances import VirtualRoute, VirtualRule

Tables = Mapping[str, int] | None
"""Names and numbers of routing tables; None: the names are not known here."""

_KERNELS = {"local": 255, "main": 254, "default": 253}
_UNKNOWN = 0  # the number of a name that is not looked up
_FILES = (
    *("/usr/share/iproute2/rt_tables", "/usr/lib/iproute2/rt_tables", "/etc/iproute2/rt_tables"),
)
_FOLDER = "/etc/iproute2/rt_tables.d"


def read_tables(root: Path = Path("/")) -> Mapping[str, int]:
    """The tables that have names on this host, as iproute2 knows them; later files win."""
    folder = root / _FOLDER.lstrip("/")
    found = dict(_KERNELS)
    for path in (*(root / f.lstrip("/") for f in _FILES), *sorted(folder.glob("*.conf"))):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue  # a host without iproute2 has no names
        for line in lines:
            number, *names = line.partition("#")[0].split() or [""]
            if names and (value := _number(number)) is not None:
                found[names[0]] = value
    return found


def read_routes(
    section: Section, nodes: Nodes, families: tuple[Family, ...], tables: Tables
) -> tuple[VirtualRoute, ...]:
    """`virtual_routes`: held by the master."""
    routes = []
    for item in section.items("virtual_routes"):
        route = section.under("virtual_routes", item)
        if route is None:
            continue
        to = route.required("to", addresses.network, "203.0.113.0/24")
        via = route.read("via", addresses.address, None)
        interface = per_node(route, "interface", scalars.interface, nodes)
        source = route.read("source", addresses.address, None)
        table = route.read("table", _table(tables), None)
        metric = route.read("metric", scalars.integer(0, 2**32 - 1), None)
        onlink = route.read("onlink", scalars.boolean, False)
        if not route.has("via") and not route.has("interface"):
            route.error(route.at, "", "leads nowhere: add 'via: ADDRESS' or 'interface: NAME'")
        if onlink and not (route.has("via") and route.has("interface")):
            text = "says that the gateway is on the interface: name both, 'via' and 'interface'"
            route.error(route.value_at("onlink"), "onlink", text)
        _lint_family(route, families, to, via, source)
        route.close()
        if to is not None:
            routes.append(VirtualRoute(to, via, interface, source, table, metric, onlink))
    return tuple(routes)


def read_rules(
    section: Section, families: tuple[Family, ...], tables: Tables
) -> tuple[VirtualRule, ...]:
    """`virtual_rules`: held by the master."""
    rules = []
    for item in section.items("virtual_rules"):
        rule = section.under("virtual_rules", item)
        if rule is None:
            continue
        source = rule.read("from", addresses.network, None)
        to = rule.read("to", addresses.network, None)
        table = rule.required("table", _table(tables), "100")
        priority = rule.read("priority", scalars.integer(1, 2**32 - 1), None)
        if not rule.has("from") and not rule.has("to"):
            rule.error(rule.at, "", "holds for everything: add 'from: PREFIX' or 'to: PREFIX'")
        _lint_family(rule, families, source, to)
        rule.close()
        if table is not None:
            rules.append(VirtualRule(source, to, table, priority))
    return tuple(rules)


def _lint_family(section: Section, families: tuple[Family, ...], *texts: str | None) -> None:
    """All of one family, and of one that the instance has addresses of: they move with it."""
    found: set[Family] = {6 if ":" in t else 4 for t in texts if t and (":" in t or "." in t)}
    if len(found) > 1:
        section.error(section.at, "", "mixes IPv4 and IPv6: write one of each")
    elif families and not found.issubset(families):
        (family,) = found
        text = f"is IPv{family}, and the instance has no IPv{family} address to move with: add one"
        section.error(section.at, "", text)


def _table(tables: Tables) -> Parse[int]:
    """A routing table by number or by name."""

    def parse(tree: Tree) -> int:
        value = scalars.name(tree)
        if value.isdigit():
            if not 1 <= int(value) < 2**32:
                raise Wrong(f"{value} is out of range for a routing table: 1 to {2**32 - 1}")
            return int(value)
        if value in _KERNELS:
            return _KERNELS[value]
        if tables is None:
            return _UNKNOWN
        if value not in tables:
            known = listed(tuple(sorted(tables)))
            raise Wrong(
                f"{value} is no routing table of this host (those are {known}): "
                f"add '100 {value}' to /etc/iproute2/rt_tables, or write its number"
            )
        return tables[value]

    return parse


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
