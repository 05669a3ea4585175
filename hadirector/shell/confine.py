"""Giving up privileges: what talks to strangers keeps none (capabilities(7), prctl(2)).

Capabilities belong to threads: call these before the first one is started, and after everything
that only root may read is imported. A parent-death signal is to be asked for afterwards: the
kernel forgets it when the user changes.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Collection
from pathlib import Path

NET_ADMIN, NET_RAW, BPF = 12, 13, 39  # include/uapi/linux/capability.h
NOBODY = 65534  # user and group: the overflow ids, which own nothing
_KILL, _SETGID, _SETUID = 5, 6, 7

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_LOWER = 3
_CAPABILITY_VERSION_3 = 0x20080522
_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """Effective, permitted, inheritable; twice: 64 capabilities in two words."""

    _fields_ = (("words", ctypes.c_uint32 * 6),)


def drop_privileges() -> str:
    """Become nobody where that is possible, and hold no capability in any case; OSError when one
    stays. Why it keeps uid 0, or empty text."""
    _forbid_gaining(frozenset())
    kept = _become_nobody() if os.geteuid() == 0 else ""
    drop_capabilities()
    return kept


def drop_capabilities() -> None:
    """Every capability of this process and of what it may ever execute; OSError when one stays."""
    keep(frozenset())


def keep(capabilities: Collection[int]) -> None:
    """Only these capabilities, and of these what is held now, for this process and for whatever
    it executes; OSError when another one stays."""
    _forbid_gaining(capabilities)
    wanted = sum(1 << capability for capability in capabilities)
    held = _masks()
    words = []
    for shift in (0, 32):
        for name in ("CapPrm", "CapPrm", "CapInh"):  # effective is what is permitted
            words.append((held[name] & wanted) >> shift & 0xFFFFFFFF)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    sets = _Sets((ctypes.c_uint32 * 6)(*words))
    _must(_libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")
    stay = {name: mask & ~wanted for name, mask in _masks().items() if name in _SETS}
    if any(stay.values()):
        raise PermissionError(f"capabilities stay after capset: {stay}")


def raise_descriptor_limit() -> int:
    """As many open files as the hard limit allows; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _forbid_gaining(capabilities: Collection[int]) -> None:
    """Nothing but these can come back by executing a program."""
    _must(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for capability in range(_last_capability() + 1):
        if capability not in capabilities:
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, capability, 0, 0)
            # Needs CAP_SETPCAP; without it nothing is lost: no_new_privs binds an exec as well.
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _become_nobody() -> str:
    """Root without capabilities still owns most of the files. Why it stays root, or empty text.

    The supervisor has what we have now: without CAP_KILL it could not end a stranger's process.
    """
    needed = {"CAP_SETUID": _SETUID, "CAP_SETGID": _SETGID, "CAP_KILL": _KILL}
    effective = _masks()["CapEff"]
    missing = [name for name, number in needed.items() if not effective >> number & 1]
    if missing:
        return f"stays uid 0 for want of {', '.join(missing)}"
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:  # a user namespace that has no such user
        return f"stays uid {os.geteuid()}: {error.strerror}"
    return ""


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
