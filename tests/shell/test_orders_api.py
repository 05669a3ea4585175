"""Orders about servers as the API takes them, and as they lie on the disk."""

from pathlib import Path

import pytest

from hadirector.core.address import Address
from hadirector.core.admin import Admin
from hadirector.core.overrides import Override, Stamp, Subject
from hadirector.core.requests import OrderKind
from hadirector.shell import orders_api, overrides_file

ORDER = Override(
    Subject("web", Address("10.0.1.12")), Admin.DRAINED, None, "", "root", Stamp(5, "lb1"), 1.0, 9.0
)


def test_an_order_is_read_with_all_its_parts() -> None:
    asked = {
        "server": "web/10.0.1.12",
        "weight": "7",
        "by": "ann",
        "reason": "a\n b",
        "expires": "9",
    }

    order = orders_api.read("weight", asked)

    assert (order.kind, order.server, order.weight) == (OrderKind.WEIGHT, "web/10.0.1.12", 7)
    assert (order.by, order.reason, order.expires) == ("ann", "a b", 9.0)
    assert orders_api.read("weight", {"weight": "configured"}).weight is None
    assert orders_api.read("drain", {"by": "\x1b[2J"}).by == "[2J"


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("explode", {}),
        ("weight", {"weight": "-1"}),
        ("weight", {"weight": "65536"}),
        ("weight", {}),
        ("drain", {"expires": "nan"}),
        ("drain", {"expires": "0"}),
        ("drain", {"expires": "x"}),
    ],
)
def test_what_is_no_order_is_refused(kind: str, asked: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        orders_api.read(kind, asked)


async def test_orders_are_found_again_after_a_restart(tmp_path: Path) -> None:
    kept = overrides_file.OverridesFile(str(tmp_path))

    trouble = await kept.save((ORDER,))

    (again,) = overrides_file.load(str(tmp_path))
    assert trouble == ""
    assert (again.subject, again.admin, again.stamp) == (ORDER.subject, ORDER.admin, ORDER.stamp)
    assert again.at == pytest.approx(1.0, abs=0.5)
    assert again.expires_at == pytest.approx(9.0, abs=0.5)


async def test_a_disk_that_refuses_is_told_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    kept = overrides_file.OverridesFile(str(folder))

    trouble = await kept.save((ORDER,))
    folder.mkdir()
    await kept.retry()

    assert "overrides.json" in trouble
    assert (kept.trouble, len(overrides_file.load(str(folder)))) == ("", 1)


def test_a_file_that_cannot_be_read_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / overrides_file.NAME).write_text("{")

    assert overrides_file.load(str(tmp_path)) == ()
