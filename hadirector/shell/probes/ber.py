"""Values in BER and DER: a tag, a length of one byte or of more, the value (X.690 8.1)."""


def value(raw: bytes, at: int) -> tuple[bytes, int]:
    """The value that begins at `at`, and where the next one begins; IndexError where `raw` ends
    before it does."""
    size, start = raw[at + 1], at + 2
    digits = length_digits(size)
    if digits:
        size, start = int.from_bytes(raw[start : start + digits]), start + digits
    if start + size > len(raw):
        raise IndexError
    return raw[start : start + size], start + size


def length_digits(first: int) -> int:
    """How many bytes of length follow its first one, which is the length itself where none do."""
    return first & 0x7F if first & 0x80 else 0
