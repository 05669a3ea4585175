"""Durations as an operator writes them, in the configuration and in sentences alike."""


def spell(seconds: float) -> str:
    """`40ms`, `3.2s`, `10m`, `1h`: the largest unit that leaves no fraction, seconds otherwise."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:.9g}ms"
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:.9g}s"
