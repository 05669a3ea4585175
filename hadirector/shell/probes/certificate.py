"""From when to when a certificate is valid: the one thing `ssl` does not tell of a certificate
that it was not asked to verify.

    Certificate    SEQUENCE { tbsCertificate, ... }                                RFC 5280 4.1
    tbsCertificate SEQUENCE { [0] version, serial, signature, issuer, validity, ... }
    validity       SEQUENCE { notBefore, notAfter }: UTCTime or GeneralizedTime
"""

from calendar import timegm

from hadirector.shell.probes import ber

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def validity(der: bytes) -> tuple[int, int]:
    """Not before and not after, as Unix seconds; ValueError when these are not to be found."""
    try:
        body = _sequence(_sequence(der, 0), 0)
        at = 0
        if body[0] == _VERSION:
            _, at = ber.value(body, at)
        for _ in ("serial", "signature", "issuer"):
            _, at = ber.value(body, at)
        times = _sequence(body, at)
        before, at = _time(times, 0)
        after, _ = _time(times, at)
    except IndexError:
        raise ValueError("a certificate cut short") from None
    return before, after


def _sequence(raw: bytes, at: int) -> bytes:
    if raw[at] != _SEQUENCE:
        raise ValueError(f"tag {raw[at]:#x} where {_SEQUENCE:#x} should be")
    return ber.value(raw, at)[0]


def _time(raw: bytes, at: int) -> tuple[int, int]:
    text, after = ber.value(raw, at)
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
