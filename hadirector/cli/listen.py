"""Addresses as options say them, for argparse."""

import argparse

from hadirector.core.address import Address, canonical


def host_port(text: str) -> tuple[str, int]:
    """`:8888`, `8888`, `10.0.1.11:8888`, `[2001:db8::1]:8888`: where to listen."""
    address, _, port = text.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]")
    try:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError
        return (str(canonical(bare)) if bare else ""), int(port)
    except ValueError:
        wanted = f"{text!r}: write PORT or ADDRESS:PORT"
        raise argparse.ArgumentTypeError(wanted) from None


def address(text: str) -> Address:
    """One address, as the kernel and the configuration are compared with it."""
    try:
        return canonical(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address") from None
