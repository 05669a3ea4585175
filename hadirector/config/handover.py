"""A loaded configuration as bytes: how the process that reads YAML hands it to the daemon.

Imported by the daemon, and so without YAML. The bytes are JSON: an operator can look into them.
"""

from dataclasses import dataclass

import msgspec

from hadirector.config.problem import Problem
from hadirector.core.settings.cluster import Config


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file says to one node: `config` is None when any problem is an error."""

    config: Config | None
    problems: tuple[Problem, ...]


_DECODER = msgspec.json.Decoder(Loaded)


def encode(loaded: Loaded) -> bytes:
    """The bytes of a loaded configuration."""
    return msgspec.json.encode(loaded)


def decode(blob: bytes) -> Loaded:
    """What `encode` was given; ValueError when it was not."""
    try:
        return _DECODER.decode(blob)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a loaded configuration: {error}") from None
