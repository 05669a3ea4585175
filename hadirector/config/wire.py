"""What of an instance is seen on the wire: version and interval, unicast, authentication."""

import ipaddress
from dataclasses import dataclass

from hadirector.config import addresses, scalars
from hadirector.config.nodes import Nodes, by_node
from hadirector.config.problem import Wrong, shown
from hadirector.config.reader import Section
from hadirector.config.tree import Mapping, Sequence, Tree
from hadirector.core.address import Address, Family, family
from hadirector.core.duration import spell
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Instance,
    Signing,
    Unicast,
)

_LONGEST = 40.95  # seconds; version 3 has 12 bits for hundredths
_COUNTED = 255  # the advert counts its addresses in one byte
_PACKET = 1500  # an advert is never fragmented
_HEADERS: dict[Family, int] = {4: 20 + 8, 6: 40 + 8}
_SIZES: dict[Family, int] = {4: 4, 6: 16}
_TRAILER = 28  # auth_hmac
_WORDS = tuple(mode.value for mode in Signing)


@dataclass(frozen=True, slots=True)
class Timing:
    """Version and advert interval, which bound each other."""

    version: int = 3
    advert_int: float = 1.0


def timing(section: Section, defaults: Timing) -> Timing:
    """`version` and `advert_int` of an instance, or of `defaults`."""
    version = section.read("version", scalars.integer(2, 3), defaults.version)
    advert_int = section.read("advert_int", scalars.duration(0.01, 255), defaults.advert_int)
    if not section.has("advert_int") and not section.has("version"):
        return defaults  # what is wrong with these was told where they stand
    key = "advert_int" if section.has("advert_int") else "version"
    at, spelt = section.value_at(key), spell(advert_int)
    if version == 2 and advert_int != int(advert_int):
        section.error(at, key, f"{spelt}: version 2 counts whole seconds: write 1s, or version: 3")
    elif version == 3 and advert_int > _LONGEST:
        section.error(at, key, f"{spelt} is out of range: 10ms to 40.95s in version 3")
    elif version == 3 and round(advert_int * 100, 6) % 1:
        section.error(at, key, f"{spelt}: version 3 counts hundredths of a second: write 10ms")
    return Timing(version, advert_int)


def unicast(section: Section, nodes: Nodes) -> Unicast | None:
    """`{lb1: 198.51.100.1, lb2: 198.51.100.2}`, or a list of nodes, each by its name or address,
    and of other routers by their addresses. Empty is multicast."""
    tree = section.find("unicast")
    if tree is None or not _has_entries(tree):
        return None
    listed = isinstance(tree, Sequence)
    found, others = _listed(section, nodes) if listed else (_named(section, tree, nodes), ())
    every = (*found.values(), *others)
    if not every:
        return None
    if len({family(one) for one in every}) > 1:
        section.error(tree.at, "unicast", "mixes IPv4 and IPv6: take one family for all nodes")
    if len(set(every)) < len(every):
        section.error(tree.at, "unicast", "has an address twice: each router has its own")
    mine = found.get(nodes.me)
    peers = tuple(one for one in every if one != mine)
    if mine is None:
        return None
    if not peers:
        text = "names no other router: add the peers' addresses, or leave it out for multicast"
        section.error(tree.at, "unicast", text)
    return Unicast(mine, peers)


def authentication(section: Section, key_file: str | None) -> Authentication:
    """`none`, `hmac`, `{hmac: MODE}` or `{pass: FILE}`."""
    if isinstance(section.node.entries.get("authentication"), Mapping):
        return _authentication_of(section, key_file)
    word = section.read("authentication", _none_or_hmac, "none")
    kind = AuthenticationKind(word)
    return Authentication(kind, key_file if kind is AuthenticationKind.HMAC else None)


def lint(section: Section, instance: Instance) -> None:
    """What only the whole instance shows."""
    _lint_size(section, instance)
    _lint_authentication(section, instance)
    if 6 in instance.families() and instance.version == 2:
        _lint_version_2(section, instance)
    if instance.unicast is not None:
        _lint_unicast(section, instance, instance.unicast)


def _has_entries(tree: Tree) -> bool:
    if isinstance(tree, Mapping):
        return bool(tree.entries)
    return not isinstance(tree, Sequence) or bool(tree.items)


def _named(section: Section, tree: Tree, nodes: Nodes) -> dict[str, Address]:
    found = by_node(section, "unicast", _own_address, nodes)
    if not isinstance(tree, Mapping):
        return found
    for name in nodes.names:
        if name not in tree.entries:
            section.error(tree.at, "unicast", f"has no address for {name}: add '{name}: ADDRESS'")
    return found


def _listed(section: Section, nodes: Nodes) -> tuple[dict[str, Address], tuple[Address, ...]]:
    """The nodes' addresses by name, and those of others."""
    known = {node.name: node.address for node in (*nodes.all, nodes.mine)}

    def parse(tree: Tree) -> Address:
        word = scalars.text(tree)
        if word not in known:
            return _own_address(tree)
        address = known[word]
        if address is None:
            raise Wrong(f"{word} has no address: add one in nodes.{word}, or write it here")
        return address

    every = section.each("unicast", parse)
    found = {name: a for name, a in known.items() if a is not None and a in every}
    if len(every) == len(section.items("unicast")):  # else what is wrong with it is told already
        for name in known:
            if name not in found:
                text = f"has no address of {name}: add {name}, or write {{{name}: ADDRESS, ...}}"
                section.error(section.value_at("unicast"), "unicast", text)
    return found, tuple(address for address in every if address not in found.values())


def _own_address(tree: Tree) -> Address:
    """An address that one router can have."""
    found = addresses.address(tree)
    kind = ipaddress.ip_address(found)
    if kind.is_multicast or kind.is_unspecified or kind.is_loopback:
        raise Wrong(f"{found} is no address that a peer can be reached at")
    return found


def _authentication_of(section: Section, key_file: str | None) -> Authentication:
    below = section.section("authentication")
    assert below is not None, "a mapping is a section"
    if below.has("hmac"):
        signing = below.read("hmac", scalars.choice(Signing), Signing.ENFORCE)
        below.close()
        return Authentication(AuthenticationKind.HMAC, key_file, signing)
    file = below.required("pass", scalars.path, "/etc/hadirector/vrrp.pass")
    below.close()
    return Authentication(AuthenticationKind.PASS, file)


def _none_or_hmac(tree: Tree) -> str:
    value = scalars.plain(tree)
    if value not in ("none", "hmac"):
        modes = ", ".join(_WORDS)
        raise Wrong(
            f"{shown(value)} is none of none, hmac, {{pass: FILE}}, {{hmac: MODE}}: {modes}"
        )
    return value


def _lint_size(section: Section, instance: Instance) -> None:
    at = section.value_at("virtual_addresses")
    signed = _TRAILER if instance.authentication.kind is AuthenticationKind.HMAC else 0
    for kind in instance.families():
        room = (_PACKET - _HEADERS[kind] - signed) // _SIZES[kind]
        most = min(_COUNTED, room)
        count = sum(family(one.address) == kind for one in instance.virtual_addresses)
        if count > most:
            text = (
                f"{count} IPv{kind} addresses do not fit an advert: at most {most}; "
                "move the others to excluded_addresses"
            )
            section.error(at, "virtual_addresses", text)
        if not count:
            text = f"has no IPv{kind} address to go with those in excluded_addresses: move one here"
            section.error(at, "virtual_addresses", text)


def _lint_version_2(section: Section, instance: Instance) -> None:
    """Its IPv6 addresses are spoken for by version 3."""
    at = section.value_at("virtual_addresses")
    text = "version 2 has no IPv6: those addresses are advertised by version 3"
    if instance.authentication.kind is AuthenticationKind.PASS:
        text += ", which has no password either"
    section.warn(at, "virtual_addresses", text)
    if instance.advert_int > _LONGEST:
        spelt = spell(instance.advert_int)
        text = f"version 3, for the IPv6 ones, does not count as far as {spelt}: 40s or less"
        section.error(at, "virtual_addresses", text)


def _lint_unicast(section: Section, instance: Instance, pair: Unicast) -> None:
    at = section.value_at("unicast")
    kind = family(pair.source)
    other = {4: "IPv6", 6: "IPv4"}[kind]
    if instance.families() and kind not in instance.families():
        text = f"is IPv{kind}, and all virtual addresses are {other}: take {other} addresses here"
        section.error(at, "unicast", text)
    elif len(instance.families()) > 1:
        text = (
            f"is for the IPv{kind} addresses; the {other} ones are advertised by multicast: give "
            "them an instance of their own, and a sync group with this one"
        )
        section.warn(at, "unicast", text)
    virtual = {v.address for v in instance.virtual_addresses + instance.excluded_addresses}
    for address in (pair.source, *pair.peers):
        if address in virtual:
            text = f"{address} is a virtual address: unicast goes between the routers' own"
            section.error(at, "unicast", text)


def _lint_authentication(section: Section, instance: Instance) -> None:
    kind = instance.authentication.kind
    at = section.value_at("authentication")
    if kind is AuthenticationKind.PASS and instance.version != 2:
        text = "a password is for version 2 only: write hmac, or version: 2"
        section.error(at, "authentication", text)
    if kind is AuthenticationKind.HMAC and instance.authentication.file is None:
        text = "hmac needs keys: add 'key_file: /etc/hadirector/cluster.key'"
        section.error(at, "authentication", text)
