"""tshark, the judge of what we send: which frames of a capture it complains of, and why."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

TSHARK = shutil.which("tshark")

PLAIN = ("-o", "vrrp.v3_checksum_as_in_v2:TRUE")
"""RFC 9568's checksum of version 3 over IPv4; without it, RFC 5798's is the right one."""

PEDANTIC = ("-o", "ip.check_checksum:TRUE")


def complaints(capture: Path, *options: str) -> dict[int, list[str]]:
    """By the number of the frame, from 1: every expert and malformed mark."""
    found: dict[int, list[str]] = {}
    for number, layers in enumerate(_frames(capture, *options), 1):
        marks = _texts(layers, "_ws.expert.message")
        if "_ws.malformed" in layers:
            marks.append("malformed")
        if marks:
            found[number] = marks
    return found


def protocols(capture: Path) -> list[str]:
    """What tshark takes each frame for, outermost layer first."""
    return [layers["frame"]["frame.protocols"] for layers in _frames(capture)]


def fields(capture: Path, *names: str) -> list[tuple[str, ...]]:
    """The first value of each of these fields in each frame."""
    wanted = [part for name in names for part in ("-e", name)]
    lines = _run(capture, "-T", "fields", "-E", "occurrence=f", *wanted).splitlines()
    return [tuple(line.split("\t")) for line in lines]


def _frames(capture: Path, *options: str) -> list[dict[str, Any]]:
    told = json.loads(_run(capture, "-T", "json", *PEDANTIC, *options))
    return [frame["_source"]["layers"] for frame in told]


def _texts(tree: object, name: str) -> list[str]:
    """The values of a field, however deep."""
    if isinstance(tree, list):
        return [text for item in tree for text in _texts(item, name)]
    if not isinstance(tree, dict):
        return []
    own = [str(tree[name])] if name in tree else []
    return own + [text for value in tree.values() for text in _texts(value, name)]


def _run(capture: Path, *options: str) -> str:
    assert TSHARK
    return subprocess.run(
        (TSHARK, "-n", "-r", str(capture), *options),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
