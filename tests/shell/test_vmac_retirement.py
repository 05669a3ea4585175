"""Devices are set down and deleted beside the loop, unless they are wanted again meanwhile."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from hadirector.core.vmac import Lower, Remove
from hadirector.shell import rtnetlink, vmac_device
from hadirector.shell.netlink import Refusal, Request
from hadirector.shell.vmac_device import Retirement


class Kernel:
    """Takes requests of the thread while `open` is set, and notes them."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.done: list[Request] = []

    def execute(self, requests: Sequence[Request], _: str) -> list[Refusal]:
        self.open.wait(5)
        self.done += requests
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(rtnetlink, "Route", lambda: made)
    return made


DOWN, GONE = vmac_device.switch("vrrp.51", up=False), vmac_device.remove("vrrp.51")
OTHER = vmac_device.switch("vrrp.60", up=False)


async def finish(kernel: Kernel, retirement: Retirement) -> list[Request]:
    kernel.open.set()
    await asyncio.get_running_loop().run_in_executor(None, retirement._thread.shutdown)
    await asyncio.sleep(0)
    return kernel.done


async def test_each_is_done_once_and_told(kernel: Kernel) -> None:
    told: list[tuple[str, str]] = []
    retirement = Retirement(lambda name, reason: told.append((name, reason)))

    retirement.begin(Lower("vrrp.51"))
    retirement.begin(Lower("vrrp.51"))
    retirement.begin(Lower("vrrp.60"))

    assert await finish(kernel, retirement) == [DOWN, OTHER]
    await asyncio.sleep(0.05)
    assert told == [("vrrp.51", ""), ("vrrp.60", "")]


async def test_one_that_is_wanted_again_is_spared_unless_it_is_under_way(kernel: Kernel) -> None:
    retirement = Retirement(lambda name, reason: None)
    retirement.begin(Lower("vrrp.60"))  # keeps the thread busy
    await asyncio.sleep(0.05)
    retirement.begin(Lower("vrrp.51"))

    retirement.spare({"vrrp.51", "vrrp.60"})

    assert await finish(kernel, retirement) == [OTHER]


async def test_a_removal_that_became_a_lowering_is_only_that(kernel: Kernel) -> None:
    retirement = Retirement(lambda name, reason: None)
    retirement.begin(Lower("vrrp.60"))
    await asyncio.sleep(0.05)
    retirement.begin(Remove("vrrp.51"))

    retirement.spare({"vrrp.51"})
    retirement.begin(Lower("vrrp.51"))

    assert await finish(kernel, retirement) == [OTHER, DOWN]
    assert GONE not in kernel.done
