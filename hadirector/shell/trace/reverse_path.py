"""How many packets the kernel dropped because of rp_filter: /proc/net/netstat."""

from pathlib import Path

_FILE = Path("/proc/net/netstat")


def dropped() -> int:
    """In this network namespace since it began; 0 where it is not counted."""
    try:
        lines = _FILE.read_text().splitlines()
    except OSError:
        return 0
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if names.startswith("TcpExt:"):
            told = dict(zip(names.split(), values.split(), strict=False))
            return int(told.get("IPReversePathFilter", "0"))
    return 0
