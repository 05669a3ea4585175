"""What a check sends and what it expects, as text or as bytes in hex.

send: "PING\r\n"                 double quotes: YAML makes the line break of it
send: {hex: "30 0c 02 01"}
expect: "^220 "                  a regular expression, searched
expect: {hex: "00 ?? 01"}        the first bytes; ?? is any byte
"""

import re

from hadirector.config import scalars
from hadirector.config.problem import Wrong, shown
from hadirector.config.tree import Mapping, Scalar, Tree

LARGEST = 4096  # bytes of one payload

_WRITTEN_OUT = re.compile(r"\\[rn]")
_PAIR = re.compile(r"[0-9A-Fa-f]{2}")


def payload(tree: Tree) -> bytes:
    """Bytes to send, at least one."""
    if isinstance(tree, Mapping):
        pairs = _pairs(tree)
        if "??" in pairs:
            raise Wrong("'??' can be expected, but not sent: write the byte")
        return bytes.fromhex("".join(pairs))
    text = scalars.plain(tree)
    if _WRITTEN_OUT.search(text):
        raise Wrong(r'has \r or \n written out: write it in double quotes, "...\r\n"')
    raw = text.encode("utf-8", "surrogateescape")
    if not raw:
        raise Wrong("is empty: write what is to be sent, or remove the key")
    if len(raw) > LARGEST:
        raise Wrong(f"is longer than {LARGEST} bytes")
    return raw


def expected(tree: Tree) -> str:
    """A regular expression over bytes as Latin-1; text in it stands for its UTF-8."""
    if isinstance(tree, Mapping):
        pairs = _pairs(tree)
        return r"(?s)\A" + "".join("." if pair == "??" else rf"\x{pair.lower()}" for pair in pairs)
    return scalars.pattern(tree).encode("utf-8", "surrogateescape").decode("latin-1")


def _pairs(tree: Mapping) -> list[str]:
    value = tree.entries.get("hex")
    if set(tree.entries) != {"hex"} or not isinstance(value, Scalar):
        raise Wrong('needs a text, or bytes in hex: {hex: "30 0c 02"}')
    digits = "".join(value.text.split())
    pairs = [digits[i : i + 2] for i in range(0, len(digits), 2)]
    for pair in pairs:
        if pair != "??" and not _PAIR.fullmatch(pair):
            raise Wrong(f"{shown(pair)} is no byte in hex: write two digits each")
    if not 1 <= len(pairs) <= LARGEST:
        raise Wrong(f"needs 1 to {LARGEST} bytes in hex")
    return pairs
