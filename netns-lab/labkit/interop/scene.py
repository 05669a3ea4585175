"""What was seen while one thing was done."""

from dataclasses import dataclass

from labkit.interop.capture import Seen


@dataclass(frozen=True, slots=True)
class Evidence:
    """Instants are monotonic seconds. `struck`: what was to happen was begun; `done`: it had come
    about (None: not in time). `owned`: comings and goings of the address the client asks, on live
    nodes. `holders`: by virtual address, which kernels have it at the end. `macs`, `sources` and
    `products` tell who is who on the wire."""

    began: float
    struck: float
    done: float | None
    ended: float
    seen: Seen
    owned: tuple[tuple[float, str, bool], ...]
    holders: dict[str, tuple[str, ...]]
    complaints: tuple[str, ...]
    macs: dict[str, str]
    sources: dict[str, frozenset[str]]
    products: dict[str, str]
