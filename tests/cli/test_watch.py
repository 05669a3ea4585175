"""cli/watch: a record in a line."""

import time
from dataclasses import replace

from hadirector.cli.watch import line
from hadirector.core.record_watch import seen
from hadirector.shell.record_stream import record_json
from tests.core.test_record_watch import TEMPLATE, WEB


def test_a_record_is_one_line() -> None:
    at = time.strftime("%H:%M:%S", time.localtime(1_000_000.0))

    shown = line(_told(replace(seen(WEB, True, 0.0))))  # type: ignore[arg-type]  # a mapping
    template = line(_told(seen(TEMPLATE, False, 0.0)))  # type: ignore[arg-type]  # a mapping

    route = "198.51.100.7:40112 -> 192.0.2.10:80 -> 10.0.1.11:8080"
    assert shown == f"{at} sent     TCP {route} ESTABLISHED nat 900 s"
    route = "[2001:db8::7]:0 -> [::7]:0 -> [2001:db8:1::11]:0"
    assert template == f"{at} received IP {route} ASSURED dr inactive template fwmark 7 300 s"


def test_what_is_left_out_is_said() -> None:
    assert line({"skipped": 12}) == "... 12 more, not shown"


def _told(record: object) -> object:
    return record_json(record, 1_000_000.0)  # type: ignore[arg-type]  # a SeenRecord
