"""What makes a conversation between two syncers believable: a key of its own for each connection.

Both greetings carry a nonce, so nothing recorded fits another connection; the key is made of the
cluster's key, the nonces, the cluster and both names, so nothing said to one node fits another.
Each frame has its direction and number under its MAC: none can be left out, repeated or turned
back. Which key of the cluster it is made of the master chooses among those both have, its own
first one before others: keys change on one node after the other without a gap.
"""

import hmac
from collections.abc import Iterable
from hashlib import blake2b

from hadirector.core.keys import Key

MAC = 16  # bytes
_PERSON = b"hadirector sync"


def choose(ours: Iterable[Key], theirs: Iterable[int]) -> Key | None:
    """The first of ours that they have too."""
    known = set(theirs)
    return next((key for key in ours if key.identity in known), None)


class Seal:
    """One end of a connection between the syncer of `standby` and that of `master`."""

    def __init__(
        self, key: Key, cluster: str, names: tuple[str, str], nonces: tuple[bytes, bytes], us: int
    ) -> None:
        """`names` and `nonces` of standby and master; `us`: 0 for the standby, 1 for the other."""
        about = b"".join(
            len(part).to_bytes(2, "big") + part
            for part in (cluster.encode(), *(name.encode() for name in names), *nonces)
        )
        self._key = blake2b(about, digest_size=32, key=key.secret, person=_PERSON).digest()
        self._us = us
        self._sent = self._received = 0

    def seal(self, body: bytes) -> bytes:
        """The MAC of the next frame we send."""
        self._sent += 1
        return self._mac(self._us, self._sent, body)

    def is_genuine(self, body: bytes, mac: bytes) -> bool:
        """Whether this is the next frame that they sent."""
        self._received += 1
        return hmac.compare_digest(mac, self._mac(1 - self._us, self._received, body))

    def _mac(self, direction: int, number: int, body: bytes) -> bytes:
        head = bytes((direction,)) + number.to_bytes(8, "big")
        return blake2b(head + body, digest_size=MAC, key=self._key).digest()
