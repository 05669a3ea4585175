"""cli/sync_table: what an operator reads of connection sync."""

import json
from dataclasses import replace
from typing import Any

from hadirector.cli.sync_table import table
from hadirector.core import director_events as ev
from hadirector.core import status
from hadirector.core.director import Director
from hadirector.core.settings.cluster import ResyncPolicy, SyncTransport
from tests.core import farm, syncing

SYNC = replace(syncing.SYNC, transport=SyncTransport.AUTHENTICATED, resync=ResyncPolicy.NEVER)


def test_what_is_open_to_programs_of_this_host_is_a_warning_and_no_trouble() -> None:
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(replace(farm.CONFIG, connection_sync=SYNC)), 2.0)

    def told(unguarded: str) -> Any:
        shell = status.Shell(unguarded=unguarded)
        return json.loads(json.dumps(status.build(director, shell, 1000.0, {})))

    open_one, shut_one = told("anybody can do so"), told("")

    assert "warning: anybody can do so" in table(open_one["sync"]).splitlines()
    assert open_one["trouble"] == shut_one["trouble"]
    assert shut_one["sync"]["unguarded"] is None
    assert "warning" not in table(shut_one["sync"])
