"""The kernel's timer."""

import asyncio
import time

from hadirector.shell.timerfd import Timer


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def fired(timer: Timer, within: float) -> float | None:
    """When the descriptor became readable; None: not within this time."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[float] = loop.create_future()

    def readable() -> None:
        if not ready.done():
            ready.set_result(now())

    loop.add_reader(timer.fileno(), readable)
    try:
        async with asyncio.timeout(within):
            return await ready
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(timer.fileno())


async def test_it_fires_at_the_instant_not_before() -> None:
    timer = Timer()
    at = now() + 0.05
    timer.set(at)

    fired_at = await fired(timer, 1.0)

    timer.close()
    assert fired_at is not None
    assert fired_at >= at


async def test_an_instant_that_is_past_fires_at_once() -> None:
    timer = Timer()
    timer.set(now() - 100.0)

    assert await fired(timer, 1.0) is not None
    timer.close()


async def test_never_and_cleared_do_not_fire() -> None:
    timer = Timer()
    timer.set(now() + 0.01)
    timer.set(None)

    assert await fired(timer, 0.05) is None

    timer.set(now())
    assert await fired(timer, 1.0) is not None
    timer.clear()
    assert await fired(timer, 0.05) is None
    timer.close()


async def test_the_same_instant_can_be_set_again_after_clear() -> None:
    timer = Timer()
    at = now()
    timer.set(at)
    assert await fired(timer, 1.0) is not None
    timer.clear()

    timer.set(at)

    assert await fired(timer, 1.0) is not None
    timer.close()
