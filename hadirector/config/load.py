"""A file -> what it says to one node, or to each of its nodes. Only the file and its includes
are opened; what else of the host counts is handed in."""

import os
import socket

from hadirector.config import cluster, nodes, sources
from hadirector.config.handover import Loaded
from hadirector.config.problem import Place, Problems, Wrong
from hadirector.config.routing import Tables
from hadirector.config.tree import Mapping
from hadirector.config.yaml_tree import parse as parse_yaml

__all__ = ["Loaded", "load", "load_for_check"]


def load(
    path: str,
    node: str | None = None,
    host: str | None = None,
    tables: Tables = None,
    parse: sources.Parse = parse_yaml,
) -> Loaded:
    """The configuration of `node`, else of the node named like `host`, else like this host.
    `tables` are the names of this host's routing tables; `parse` makes a tree of each file."""
    problems = Problems()
    tree = sources.read(path, problems, parse)
    if tree is None:
        return Loaded(None, problems.ordered(path))
    return _pick(tree, path, node, host or socket.gethostname(), problems, tables)


def load_for_check(
    path: str, node: str | None = None, host: str | None = None
) -> tuple[Loaded, ...]:
    """One node's configuration, or every node's when none was asked for and none is this host."""
    problems = Problems()
    tree = sources.read(path, problems)
    if tree is None:
        return (Loaded(None, problems.ordered(path)),)
    name = host or socket.gethostname()
    known = nodes.names(tree)
    if node is None and known and not nodes.matches(known, name):
        return tuple(_loaded(tree, path, me, problems.copy()) for me in known)
    return (_pick(tree, path, node, name, problems),)


def _pick(
    tree: Mapping,
    path: str,
    node: str | None,
    host: str,
    problems: Problems,
    tables: Tables = None,
) -> Loaded:
    known = nodes.names(tree)
    try:
        me = nodes.pick(known, node, host)
    except Wrong as wrong:
        # Told beside every other mistake of the file, which do not depend on the node.
        problems.error(tree.keys_at.get("nodes", Place(path, 0, 0)), wrong.text)
        me = known[0]
    return _loaded(tree, path, me, problems, tables)


def _loaded(tree: Mapping, path: str, me: str, problems: Problems, tables: Tables = None) -> Loaded:
    config = cluster.read(tree, os.path.abspath(path), me, problems, tables)
    return Loaded(config, problems.ordered(path))
