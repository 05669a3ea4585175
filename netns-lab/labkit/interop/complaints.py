"""What the two daemons think of each other's packets: counters, and keepalived's log."""

import re
from dataclasses import dataclass, field

from labkit.director import Director, Hadirector, Keepalived

# Counters that are no complaint: adverts, states, and what our own lateness would add.
_FINE = {
    "advert_rcvd",
    "advert_sent",
    "become_master",
    "release_master",
    "pri_zero_rcvd",
    "pri_zero_sent",
    "duels",
    "late_wakes",
}
_WORDS = re.compile(
    r"invalid|wrong|mismatch|expected|bogus|too (short|long)|incorrect|error|warning|unknown"
    r"|can.?t |cannot|fail|discarding packet|dropping|not (a unicast|present)|associated with"
    r"|should be|passwd|auth|trailer|hmac|replay|\(line|truncat",
    re.IGNORECASE,
)
_ABOUT_ITSELF = re.compile(r"built for newer Linux")
_STAMP = re.compile(r"^\w{3} \w{3} +\d+ [\d:]+ \d{4}: ")


@dataclass(slots=True)
class Account:
    """What one daemon has complained of so far, so that each complaint is told once."""

    director: Director
    silent: bool = False  # it is leaving: only its log speaks
    _pid: int = 0
    _counted: dict[str, int] = field(default_factory=dict)
    _logged: int = 0

    def news(self, family: int) -> list[str]:
        """Complaints since the last call. A daemon that is gone has its log only."""
        found = [f"{self.director.name}: {text}" for text in self._log()]
        if self.silent or not self.director.alive():
            return found
        try:
            counters = self._counters(family)
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            return [*found, f"{self.director.name} tells no counters: {error!r}"]
        pid = self.director.pid_of("supervisor")
        before = self._counted if pid == self._pid else {}
        self._pid, self._counted = pid, counters
        for name, count in counters.items():
            more = count - before.get(name, 0)
            if more and name not in _FINE:
                found.append(f"{self.director.name} counts {more} {name}")
        return found

    def _counters(self, family: int) -> dict[str, int]:
        if isinstance(self.director, Hadirector):
            routers = self.director.status()["instances"]["front"]["routers"]
            return dict(routers[f"ipv{family}"]["counters"])
        assert isinstance(self.director, Keepalived)
        return dict(self.director.vrrp()[0]["stats"])

    def _log(self) -> list[str]:
        if not isinstance(self.director, Keepalived) or not self.director.log.exists():
            return []
        data = self.director.log.read_bytes()
        text = data[self._logged :].decode(errors="replace")
        self._logged = len(data)
        return in_log(text)


def in_log(text: str) -> list[str]:
    """The lines of keepalived's log that are complaints."""
    lines = (_STAMP.sub("", line) for line in text.splitlines())
    return [line for line in lines if _WORDS.search(line) and not _ABOUT_ITSELF.search(line)]
