"""The root of what hadirector raises on purpose; each error is defined beside what raises it."""


class HadirectorError(Exception):
    """Something the outside did; its text is one line an operator can act on."""
