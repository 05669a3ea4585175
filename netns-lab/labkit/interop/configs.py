"""How the two are told the same: one instance, two virtual addresses, nothing else.

The lists have different orders on purpose: a receiver has to compare sets.
"""

from dataclasses import dataclass
from pathlib import Path

from labkit.interop.cells import Wire
from labkit.setup import number

VRID = 51
PASSWORD = "matrix1"
KEY = "6d" * 32
VIRTUAL = {4: ("192.0.2.10", "192.0.2.11"), 6: ("fe80::10", "2001:db8::10")}
PREFIX = {4: 24, 6: 64}
HOSTS = {"lb1": 1, "lb2": 2, "client": 100}


def own(name: str, family: int) -> str:
    """A node's own address."""
    return f"192.0.2.{HOSTS[name]}" if family == 4 else f"2001:db8::{HOSTS[name]}"


def destination(wire: Wire, name: str) -> str:
    """Where this node's adverts go."""
    if wire.cast == "unicast":
        return own(_other(name), wire.family)
    return "224.0.0.18" if wire.family == 4 else "ff02::12"


@dataclass(frozen=True, slots=True)
class Terms:
    """What one of the two is told about itself, and the other's priority."""

    priority: int
    others: int
    preempt: bool = True


def hadirector(wire: Wire, name: str, terms: Terms, directory: Path) -> str:
    """The YAML, and beside it the files with the secrets."""
    other = _other(name)
    lines = [
        "cluster: interop",
        "state_dir: /run/lab-state",
        "runtime_dir: /run/hadirector",
        "nodes:",
        f"  {name}: {{address: {own(name, 4)}}}",
        f"  {other}: {{address: {own(other, 4)}}}",
        *_key_file(wire, directory),
        "vrrp:",
        f"  defaults: {{version: {wire.version}, advert_int: {number(wire.advert_int)}}}",
        "  instances:",
        "    front:",
        "      interface: front",
        f"      virtual_router_id: {VRID}",
        f"      priority: {{{name}: {terms.priority}, {other}: {terms.others}}}",
        "      virtual_addresses:",
        *(f'        - "{vip}/{PREFIX[wire.family]}"' for vip in reversed(VIRTUAL[wire.family])),
        f"      preempt: {'always' if terms.preempt else 'never'}",
    ]
    if wire.cast == "unicast":
        each = ", ".join(f'{node}: "{own(node, wire.family)}"' for node in (name, other))
        lines.append(f"      unicast: {{{each}}}")
    if wire.authentication == "pass":
        lines.append(f"      authentication: {{pass: {_secret(directory, 'pass', PASSWORD)}}}")
    if wire.authentication == "hmac":
        lines.append("      authentication: hmac")
    return "\n".join(lines) + "\n"


def keepalived(wire: Wire, name: str, terms: Terms) -> str:
    """The same in keepalived's words. It gets the highest priority a normal task can have, as it
    shares the lab's one CPU with daemons that start."""
    family = wire.family
    lines = [
        "global_defs {",
        "    router_id lab",
        "    vrrp_priority -20",
        "    vrrp_check_unicast_src",
        "}",
        "vrrp_instance front {",
        "    state BACKUP",
        f"    version {wire.version}",
        "    interface front",
        f"    virtual_router_id {VRID}",
        f"    priority {terms.priority}",
        f"    advert_int {number(wire.advert_int)}",
        *(["    nopreempt"] if not terms.preempt else []),
    ]
    if wire.cast == "unicast":
        lines += [
            f"    unicast_src_ip {own(name, family)}",
            f"    unicast_peer {{\n        {own(_other(name), family)}\n    }}",
        ]
    if wire.authentication == "pass":
        lines.append(
            f"    authentication {{\n        auth_type PASS\n        auth_pass {PASSWORD}\n    }}"
        )
    if wire.authentication == "hmac":
        lines.append(f"    auth_hmac {{\n        key 1 hex:{KEY}\n        active_key 1\n    }}")
    virtual = "".join(f"        {vip}/{PREFIX[family]}\n" for vip in VIRTUAL[family])
    lines.append(f"    virtual_ipaddress {{\n{virtual}    }}")
    return "\n".join([*lines, "}"]) + "\n"


def _other(name: str) -> str:
    return "lb2" if name == "lb1" else "lb1"


def _key_file(wire: Wire, directory: Path) -> list[str]:
    if wire.authentication != "hmac":
        return []
    return [f"key_file: {_secret(directory, 'key', f'1 {KEY}')}"]


def _secret(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path
