"""What a check asks, by its type: the keys that make core/settings/questions of a `checks:` entry.

Which keys a type has stands in config/checks; here is what they mean and what contradicts what.
"""

import ipaddress
import json
import re

from hadirector.config import addresses, payload, scalars
from hadirector.config.nodes import Nodes, per_node
from hadirector.config.problem import Wrong, listed, shown
from hadirector.config.reader import Section
from hadirector.config.tree import Mapping, Scalar, Sequence, Tree
from hadirector.core.address import Address, family
from hadirector.core.settings.questions import (
    RCODES,
    RECORDS,
    Dns,
    JsonWanted,
    Smtp,
    Tls,
    Transport,
    Udp,
)

TLS_KEYS = ("host", "verify", "ca_file", "warn_days")
WARN_DAYS = 14  # a fortnight is two chances for who renews by hand once a week

_LABEL = re.compile(r"[!-\-/-~]{1,63}")  # printable but the dot (RFC 2181 11: any byte will do)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?")


def read_where(
    section: Section, port: int | None, nodes: Nodes
) -> tuple[Address | None, int | None, tuple[Address, ...]]:
    """`connect`, `port` and `source`: where a probe goes instead of to the server, and from."""
    nowhere: tuple[Address | None, int] = (None, 0)
    host, connect_port = section.read("connect", addresses.host_port, nowhere)
    if connect_port and port is not None:
        text = f"names port {connect_port}, and 'port' names {port}: keep one of them"
        section.error(section.value_at("connect"), "connect", text)
    source = per_node(section, "source", _sources, nodes) or ()
    if host is not None and source and family(host) not in {family(one) for one in source}:
        text = f"{source[0]} cannot reach {host}: name an address of the same family"
        section.error(section.value_at("source"), "source", text)
    return host, connect_port or port, source


def read_tls(
    section: Section,
    *,
    starttls: bool = False,
    alpn: tuple[str, ...] = (),
    must_choose: bool = False,
) -> Tls:
    """How a server proves who it is."""
    host = section.read("host", scalars.text, None)
    verify = section.read("verify", scalars.boolean, True)
    ca_file = section.read("ca_file", scalars.path, None)
    if not verify and ca_file is not None:
        text = "is of no use with 'verify: false': remove one of them"
        section.error(section.value_at("ca_file"), "ca_file", text)
    if verify and host is None and not section.has("host"):
        text = (
            "'host' is missing: each server's certificate must name its address then; "
            "add 'host: NAME', or 'verify: false'"
        )
        section.warn(section.at, "", text)
    return Tls(
        verify=verify,
        ca_file=ca_file,
        name=_without_port(host),
        alpn=alpn,
        must_choose=must_choose,
        warn_days=section.read("warn_days", scalars.integer(0, 3650), WARN_DAYS),
        starttls=starttls,
    )


def read_tls_if(section: Section) -> Tls | None:
    """The same for a type that can do without: `tls: true`, or `starttls: true` where it has that;
    None: neither is asked for."""
    direct = section.read("tls", scalars.boolean, False)
    later = "starttls" in section.node.entries and section.read("starttls", scalars.boolean, False)
    if direct and later:
        text = "is TLS from the first byte, and 'starttls' later: keep one of them"
        section.error(section.value_at("tls"), "tls", text)
    if direct or later:
        return read_tls(section, starttls=later)
    for key in TLS_KEYS:
        if section.has(key):
            text = "is for TLS: add 'tls: true', or remove it"
            section.error(section.key_at(key), key, text)
    return None


def alpn(section: Section) -> tuple[str, ...]:
    """`alpn: [h2, http/1.1]`: the server has to choose one of them."""

    def protocol(tree: Tree) -> str:
        value = scalars.text(tree)
        if not value.isascii() or len(value) > 255:
            raise Wrong(f"{shown(value)} is no protocol of ALPN: write one such as h2 or http/1.1")
        return value

    return section.each("alpn", protocol)


def read_udp(section: Section) -> Udp:
    """A datagram and its reply."""
    send = section.required("send", payload.payload, '{hex: "00"}')
    return Udp(send or b"", section.read("expect", payload.expected, None))


def read_dns(section: Section) -> Dns:
    """A question and its answers."""
    record = section.read("record", scalars.word(*RECORDS), "SOA")
    rcode = section.read("rcode", scalars.word(*RCODES), "NOERROR")
    expect = tuple(_answer(section, item, record) for item in _one_or_more(section, "expect"))
    if expect and rcode != "NOERROR":
        text = f"no answers come with {rcode}: remove 'expect' or 'rcode'"
        section.error(section.value_at("rcode"), "rcode", text)
    if record != "SOA" and not section.has("name"):
        text = f"'name' is missing: whose {record} record is asked for? add 'name: example.com'"
        section.error(section.at, "", text)
    return Dns(
        name=section.read("name", _dns_name, "."),
        record=record,
        expect=expect,
        rcode=rcode,
        transport=section.read("protocol", scalars.choice(Transport), Transport.UDP),
    )


def read_smtp(section: Section) -> Smtp:
    """The greeting."""
    return Smtp(section.read("helo", _word, "localhost"))


def read_json(section: Section) -> tuple[JsonWanted, ...]:
    """`json: {status: ok, checks.db.0.up: true}`: what must stand where."""
    tree = section.find("json")
    if tree is None:
        return ()
    if not isinstance(tree, Mapping) or not tree.entries:
        text = "needs paths and their values: {status: ok, checks.db.up: true}"
        section.error(tree.at, "json", text)
        return ()
    below = section.under("json", tree)
    assert below is not None, "it is a mapping"
    found = []
    for path, at in tree.keys_at.items():
        steps = path[1:].split("/") if path.startswith("/") else path.split(".")
        if "" in steps:
            text = f"{shown(path)} is no path: write names with dots between, checks.db.0.up"
            below.error(at, "", text)
            continue
        value = below.value(path, tree.entries[path], _json_value, None)
        if value is not None:
            found.append(JsonWanted(path, value))
    return tuple(found)


def _json_value(tree: Tree) -> str:
    """A single value as JSON: what YAML shows without quotes as a number, true, false or null is
    that, all else a text."""
    if not isinstance(tree, Scalar):
        raise Wrong("needs one value: name each place of a list or object, nodes.0.state: up")
    if not tree.quoted:
        if tree.text in ("", "~"):
            raise Wrong('has no value: write one, null for JSON\'s, "" for an empty text')
        if tree.text in ("true", "false", "null") or _NUMBER.fullmatch(tree.text):
            return tree.text
    return json.dumps(tree.text)


def _sources(tree: Tree) -> tuple[Address, ...]:
    items = tree.items if isinstance(tree, Sequence) else (tree,)
    found = tuple(addresses.address(item) for item in items)
    if not found or len({family(one) for one in found}) < len(found):
        raise Wrong("needs one address, or one of each family: [10.0.1.2, '2001:db8::2']")
    return found


def _one_or_more(section: Section, key: str) -> tuple[Tree, ...]:
    """The items of a list, or a single value."""
    tree = section.node.entries.get(key)
    single = isinstance(tree, Scalar) and not tree.null
    return (section.find(key) or tree,) if single and tree is not None else section.items(key)


def _answer(section: Section, tree: Tree, record: str) -> str:
    def parse(tree: Tree) -> str:
        if record in ("A", "AAAA"):
            value = addresses.address(tree)
            if family(value) != (6 if record == "AAAA" else 4):
                raise Wrong(f"{value} never stands in a record {record}")
            return value
        return scalars.text(tree).removesuffix(".").lower() or "."

    return section.value("expect", tree, parse, "")


def _dns_name(tree: Tree) -> str:
    """A name, or an address whose name is asked for."""
    value = scalars.text(tree)
    try:
        return ipaddress.ip_address(value).reverse_pointer
    except ValueError:
        pass
    if not value.isascii():
        raise Wrong(f"{shown(value)} has letters beyond ASCII: write it as xn--...")
    labels = value.removesuffix(".").split(".")
    if (value != "." and not all(_LABEL.fullmatch(label) for label in labels)) or len(value) > 253:
        raise Wrong(f"{shown(value)} is no name: labels of 1 to 63 characters, dots between")
    return value.lower()


def _word(tree: Tree) -> str:
    value = scalars.text(tree)
    if not value.isascii() or " " in value or len(value) > 255:
        raise Wrong(f"{shown(value)} is no host name: write one such as {listed(('lb1.example',))}")
    return value


def _without_port(host: str | None) -> str | None:
    """What a Host field names, as a certificate has it."""
    if host is None:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
