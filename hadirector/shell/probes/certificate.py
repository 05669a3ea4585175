"""From when to when a certificate is valid: the one thing `ssl` does not tell of a certificate
that it was not asked to verify.

    Certificate    SEQUENCE { tbsCertificate, ... }                                RFC 5280 4.1
    tbsCertificate SEQUENCE { [0] version, serial, signature, issuer, validity, ... }
    validity       SEQUENCE { notBefore, notAfter }: UTCTime or GeneralizedTime
"""

from calendar import timegm

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def validity(der: bytes) -> tuple[int, int]:
    """Not before and not after, as Unix seconds; ValueError when these are not to be found."""
    try:
        body, _ = _value(der, 0, _SEQUENCE)
        body, _ = _value(body, 0, _SEQUENCE)
        at = 0
        if body[0] == _VERSION:
            _, at = _value(body, at)
        for _ in ("serial", "signature", "issuer"):
            _, at = _value(body, at)
        times, _ = _value(body, at, _SEQUENCE)
        before, at = _time(times, 0)
        after, _ = _time(times, at)
    except IndexError:
        raise ValueError("a certificate cut short") from None
    return before, after


def _value(raw: bytes, at: int, tag: int | None = None) -> tuple[bytes, int]:
    """The value that begins at `at`, and where the next one begins."""
    if tag is not None and raw[at] != tag:
        raise ValueError(f"tag {raw[at]:#x} where {tag:#x} should be")
    size, start = raw[at + 1], at + 2
    if size & 0x80:
        digits = size & 0x7F
        size, start = int.from_bytes(raw[start : start + digits]), start + digits
    if start + size > len(raw):
        raise ValueError("a value longer than what holds it")
    return raw[start : start + size], start + size


def _time(raw: bytes, at: int) -> tuple[int, int]:
    text, after = _value(raw, at)
    digits = text.removesuffix(b"Z").decode("latin-1")
    if not digits.isdecimal() or not digits.isascii():
        raise ValueError("a time that is none")
    if raw[at] == _UTC_TIME and len(digits) == 12:
        year, rest = int(digits[:2]), digits[2:]
        year += 2000 if year < 50 else 1900  # RFC 5280 4.1.2.5.1
    elif raw[at] == _GENERALIZED_TIME and len(digits) == 14:
        year, rest = int(digits[:4]), digits[4:]
    else:
        raise ValueError("a time of unknown form")
    month, day, hour, minute, second = (int(rest[i : i + 2]) for i in range(0, 10, 2))
    if not (year and 1 <= month <= 12):
        raise ValueError("a time that is none")
    return timegm((year, month, day, hour, minute, second, 0, 0, 0)), after
