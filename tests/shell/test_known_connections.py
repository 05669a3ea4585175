"""What fills the mirror: a reading that failed is none."""

from collections.abc import AsyncIterator, Callable

import pytest

from hadirector.core import mirror
from hadirector.core.syncer_messages import Source
from hadirector.shell import connection_table
from hadirector.shell.known_connections import KnownConnections

ROW = b"TCP C0000264 9C40 C000020A 0050 0A00010B 1F90 ESTABLISHED     899"


class Table:
    """/proc/net/ip_vs_conn: `fails` so often before it can be read; `meanwhile` happens in the
    middle of a reading."""

    def __init__(self, fails: int = 0) -> None:
        self.readings = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self._fails = fails

    async def rows(self, share: float) -> AsyncIterator[list[bytes]]:
        assert share < 0.5  # of a core: a refill is in nobody's way
        self.readings += 1
        yield [ROW]
        self.meanwhile()
        if self.readings <= self._fails:
            raise OSError("interrupted")
        yield [ROW.replace(b"9C40", b"9C41")]


def known_from(table: Table, monkeypatch: pytest.MonkeyPatch) -> KnownConnections:
    monkeypatch.setattr(connection_table, "rows", table.rows)
    known = KnownConnections()
    known.source = Source.STREAM
    return known


async def test_a_refill_that_failed_is_done_again_and_one_that_did_not_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(fails=1)
    known = known_from(table, monkeypatch)

    await known.refill()
    assert "interrupted" in known.trouble
    await known.refill()
    await known.refill()

    assert table.readings == 2
    assert len(known.mirror) == 2
    known.close()


async def test_what_is_forgotten_during_a_refill_is_filled_in_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table()
    known = known_from(table, monkeypatch)
    table.meanwhile = known.forget

    await known.refill()
    assert len(known.mirror) == 1
    table.meanwhile = lambda: None
    await known.refill()

    assert len(known.mirror) == 2
    known.close()


async def test_what_a_reading_shows_that_follows_one_that_failed_is_as_old_as_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = known_from(Table(fails=1), monkeypatch)

    await known.refill()
    await known.refill()

    values = [value for bucket in known.mirror.buckets for value in bucket.values()]
    assert len(values) == 2
    assert all(mirror.is_old(value, 1.0) for value in values)
    known.close()
