"""Several directors' configurations as the nodes of one.

What is the same on all is written once. An interface or a priority may differ from node to node;
where anything else differs, the first director's counts, and that is told.
"""

from hadirector.config.imports.director import Director, Values
from hadirector.config.imports.draft import Draft, Told, unused

_BY_NODE = ("interface", "priority")
_PRIORITY = 100
_NO_NAMES = ("", "LVS_DEVEL")  # the router_id of keepalived's own sample, which many have kept


def merge(draft: Draft, directors: list[Director]) -> None:
    """Put what the directors say into the draft."""
    _name(draft, directors)
    _instances(draft, directors)
    for director in directors:
        _same(draft, director, "script", director.scripts, draft.scripts)
        _same(draft, director, "virtual server", director.services, draft.services)
        draft.hooks += [hook for hook in director.hooks if hook not in draft.hooks]
        draft.connection_sync = draft.connection_sync or director.sync
        draft.timeouts = draft.timeouts or director.timeouts
    _groups(draft, directors)
    if not draft.instances:
        draft.nodes.clear()


def _same(
    draft: Draft, director: Director, what: str, found: dict[str, Values], known: dict[str, Values]
) -> None:
    for name, value in found.items():
        if known.setdefault(name, value) != value:
            text = f"{what} {name} is another one than that of the files before: theirs is taken"
            draft.told.append(Told(director.path, 0, text))


def _name(draft: Draft, directors: list[Director]) -> None:
    """Nodes are called like their hosts; router_id mostly is, where it differs."""
    routers = [director.name for director in directors]
    names = [unused(one.name, ()) if one.name not in _NO_NAMES else "" for one in directors]
    if "" in names or len(set(names)) < len(names):
        names = [f"lb{number}" for number in range(1, len(directors) + 1)]
    for director, name in zip(directors, names, strict=True):
        director.name = name
        draft.nodes[name] = {"priority": _PRIORITY}
    if not any(director.instances for director in directors):
        for director, own in zip(directors, routers, strict=True):
            if own:
                text = f"router_id {own} is not needed: without instances there are no nodes"
                draft.told.append(Told(director.path, 0, text))
        return
    text = f"the nodes are called {', '.join(names)}: give them the names of their hosts"
    draft.told.append(Told(draft.source, 0, text))
    if len(directors) == 1:
        text = "only one director is known: import both files at once, or add its peer to nodes"
        draft.told.append(Told(draft.source, 0, text))


def _instances(draft: Draft, directors: list[Director]) -> None:
    names = dict.fromkeys(name for director in directors for name in director.instances)
    for name in names:
        having = [director for director in directors if name in director.instances]
        first = dict(having[0].instances[name])
        for other in having[1:]:
            _compare(draft, other, name, first)
        for key in _BY_NODE:
            values = [
                director.instances.get(name, having[0].instances[name]) for director in directors
            ]
            found = {d.name: v.get(key) for d, v in zip(directors, values, strict=True)}
            # A priority is always by node: the peer that is added later has one of its own.
            if key == "priority" or len(set(map(str, found.values()))) > 1:
                first[key] = found
        for missing in (director for director in directors if director not in having):
            text = f"has no instance {name}: it gets that of {having[0].path}; give it a priority"
            draft.told.append(Told(missing.path, 0, text))
        _unicast(draft, having, name, first)
        draft.instances[name] = _ordered(first)


def _compare(draft: Draft, other: Director, name: str, first: Values) -> None:
    own = other.instances[name]
    for key in {*own, *first} - set(_BY_NODE):
        if own.get(key) != first.get(key):
            text = f"{name}: {key} differs from that of the file before, which is taken"
            draft.told.append(Told(other.path, 0, text))


def _unicast(draft: Draft, having: list[Director], name: str, made: Values) -> None:
    """Sources and peers by node where all are known, else as a list."""
    said = [(director, *director.unicast.get(name, ("", []))) for director in having]
    peers = list(dict.fromkeys(peer for _, _, others in said for peer in others))
    if not peers:
        return
    sources = {director.name: source for director, source, _ in said if source}
    strangers = [peer for peer in peers if peer not in sources.values()]
    if len(sources) < len(draft.nodes):
        # Of two directors each names the other: who has no source is the peer that is left.
        nameless = [node for node in draft.nodes if node not in sources]
        if len(nameless) == 1 == len(strangers):
            sources[nameless[0]] = strangers.pop()
    if len(sources) < len(draft.nodes):
        text = f"{name}: its adverts had peers ({', '.join(peers)}) and no unicast_src_ip: add "
        draft.told.append(Told(draft.source, 0, f"{text}'unicast: {{NODE: ADDRESS, ...}}'"))
        return
    for node, source in sources.items():
        known = draft.nodes[node]
        assert isinstance(known, dict)
        known.setdefault("address", source)
    if not strangers:
        made["unicast"] = sources
    else:
        made["unicast"] = [*sources.values(), *strangers]


def _groups(draft: Draft, directors: list[Director]) -> None:
    """Who moves together has the same priority and the same habit of preempting here."""
    taken: set[str] = set()
    for director in directors:
        for name, members in director.groups.items():
            known = [m for m in dict.fromkeys(members) if m in draft.instances and m not in taken]
            if name in draft.sync_groups or not known:
                continue
            taken |= set(known)
            draft.sync_groups[name] = known
            lead = draft.instances[known[0]]
            for member in known[1:]:
                _align(draft, director, name, lead, member)


def _align(draft: Draft, director: Director, name: str, lead: Values, member: str) -> None:
    own = draft.instances[member]
    for key in ("priority", "preempt"):
        if own.get(key) != lead.get(key):
            text = f"group {name} moves together: {member} gets the {key} of the group's first"
            draft.told.append(Told(director.path, 0, text))
            if key in lead:
                own[key] = lead[key]
            else:
                del own[key]


_ORDER = ("interface", "virtual_router_id", "priority", "version", "advert_int")


def _ordered(made: Values) -> Values:
    """As a person would write it."""
    first = {key: made[key] for key in _ORDER if key in made}
    return first | {key: value for key, value in made.items() if key not in _ORDER}
