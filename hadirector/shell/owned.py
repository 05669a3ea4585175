"""Which IPVS services are ours: a small file in the state directory, replaced whole."""

import os
from pathlib import Path

import msgspec

from hadirector.core.ipvs import ServiceKey

NAME = "owned-services.json"


def load(state_dir: str) -> frozenset[ServiceKey]:
    """The keys noted last; nothing when there is no note or it cannot be read."""
    try:
        raw = Path(state_dir, NAME).read_bytes()
        return msgspec.json.decode(raw, type=frozenset[ServiceKey])
    except (OSError, ValueError, msgspec.MsgspecError):
        return frozenset()


def encode(keys: frozenset[ServiceKey]) -> bytes:
    """The note of these keys."""
    return msgspec.json.encode(sorted(keys))


def replace_file(path: str, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, also after a crash."""
    draft = f"{path}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        os.unlink(draft)
        raise
