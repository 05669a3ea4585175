"""Which boot of this host it is: what is noted of the kernel's memory does not outlive it."""

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def identity() -> str:
    """The same until the next boot (random(4))."""
    return _BOOT_ID.read_text().strip()
