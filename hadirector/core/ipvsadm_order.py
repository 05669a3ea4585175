"""The order in which ipvsadm lists services and servers, to the last of its habits.

It compares numbers by the sign of their 32-bit difference. Addresses more than half of the address
space apart come the wrong way round by that, and three of them can each come before the next; then
the outcome depends on the way of sorting, which is that of glibc's qsort until 2.36: a merge sort.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from hadirector.core.address import Address, packed
from hadirector.core.ipvs_view import ServerView, ServiceView

T = TypeVar("T")
_Key = tuple[int, ...]


def in_order(services: Sequence[ServiceView]) -> list[ServiceView]:
    """Services, and the servers of each."""
    return [
        replace(service, servers=tuple(_merge_sort(service.servers, _server_key)))
        for service in _merge_sort(services, _service_key)
    ]


def _service_key(service: ServiceView) -> _Key:
    words = _words(service.address)
    return (service.fwmark, service.family, service.key.protocol, *words, service.port)


def _server_key(server: ServerView) -> _Key:
    words = _words(server.address)
    return (len(words), *words, server.port)


def _words(address: str) -> _Key:
    """An address as one or four numbers of 32 bits; none for a mark."""
    raw = packed(Address(address)) if address else b""
    return struct.unpack(f"!{len(raw) // 4}I", raw)


def _merge_sort(items: Sequence[T], key: Callable[[T], _Key]) -> list[T]:
    return [item for _, item in _sorted([(key(item), item) for item in items])]


def _sorted(pairs: list[tuple[_Key, T]]) -> list[tuple[_Key, T]]:
    if len(pairs) < 2:
        return pairs
    half = len(pairs) // 2
    left, right = _sorted(pairs[:half]), _sorted(pairs[half:])
    merged: list[tuple[_Key, T]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if _compare(left[i][0], right[j][0]) <= 0:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


def _compare(one: _Key, other: _Key) -> int:
    """The first difference, as a C program stores it in an int."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            difference = (a - b) & 0xFFFFFFFF
            return difference - (1 << 32) if difference >> 31 else difference
    return 0
