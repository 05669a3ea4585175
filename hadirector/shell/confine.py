"""Giving up privileges: what talks to strangers keeps none (capabilities(7), prctl(2))."""

import ctypes
import os
import resource
import sys
from pathlib import Path

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """Effective, permitted, inheritable; twice: 64 capabilities in two words."""

    _fields_ = (("words", ctypes.c_uint32 * 6),)


def drop_capabilities() -> None:
    """Every capability of this process and of what it may ever execute; OSError when one stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_last_capability() + 1):
        # Needs CAP_SETPCAP; without it nothing is lost: no_new_privs keeps an exec from gaining.
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    _must(libc.capset(ctypes.byref(header), ctypes.byref(_Sets())), "capset")
    kept = {name: mask for name, mask in _masks().items() if name in _SETS and mask}
    if kept:
        raise PermissionError(f"capabilities stay after capset: {kept}")


def raise_descriptor_limit() -> int:
    """As many open files as the hard limit allows; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _must(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _masks() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":\t", 1) for line in lines if line.startswith("Cap"))
    return {name: int(mask, 16) for name, mask in pairs}
