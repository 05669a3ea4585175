"""Which addresses are this host's."""

from hadirector.core.address import Address
from hadirector.shell import own_address


def test_an_address_of_this_host_is_here() -> None:
    assert own_address.is_here(Address("127.0.0.1"))


def test_an_address_of_somebody_else_is_not() -> None:
    assert not own_address.is_here(Address("192.0.2.77"))
    assert not own_address.is_here(Address("2001:db8::77"))
