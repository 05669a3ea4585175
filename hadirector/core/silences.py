"""Whether a server that fell silent is alone with it: if nobody else answers this node either, the
trouble may be the node's own."""

from hadirector.core.address import Address


class Silences:
    """When servers answered last, and which silent ones have nobody to compare with."""

    def __init__(self) -> None:
        self._last: tuple[str, float] = ("", -1.0)
        self._other: tuple[str, float] = ("", -1.0)  # the last of another address than that
        self._alone: dict[str, Address] = {}  # targets

    def answered(self, server: Address, now: float) -> list[str]:
        """This one did; the targets of others that are not alone any more."""
        if server != self._last[0]:
            self._other = self._last
        self._last = (server, now)
        freed = [target for target, silent in self._alone.items() if silent != server]
        for target in freed:
            del self._alone[target]
        return freed

    def falls_silent(self, target: str, server: Address, since: float) -> bool:
        """This target is out and silent since then; whether it is alone."""
        other = self._other if self._last[0] == server else self._last
        if other[1] >= since:
            self._alone.pop(target, None)
            return False
        self._alone[target] = server
        return True

    def forget(self, target: str) -> None:
        """It answered, or is no longer probed."""
        self._alone.pop(target, None)

    def keep(self, targets: "set[str] | frozenset[str]") -> None:
        """The others are no longer probed."""
        for target in self._alone.keys() - targets:
            self.forget(target)
