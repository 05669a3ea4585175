"""The hand of the director's core: what it wants done to the kernel and the disk, in order.

One task takes what is wanted and answers with events; a table read after an Apply shows its effect.
A disk that hangs holds it up for a moment only (state_file): weights do not wait for notes.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import assert_never

from hadirector.core import director_events as ev
from hadirector.core import plan
from hadirector.core.keys import Key
from hadirector.core.settings.cluster import Config
from hadirector.shell import (
    child,
    control,
    ipvs,
    journal_file,
    neighbours,
    overrides_file,
    own_address,
    owned,
    peer_channel,
    settle,
    stance_file,
    state_file,
    upkeep,
)
from hadirector.shell.netlink import KernelError

LOOK_EVERY = 1.0  # seconds between looks at what has no events: settings, sync threads, sockets
NEIGHBOURS = 10  # of these between looks at every process of the host
WAITING = 8192  # at most one read, one apply and few others wait

Put = Callable[[ev.Event], Awaitable[None]]
Wanted = ev.ReadKernel | ev.Apply | ev.SaveOwned | ev.SaveStance | ev.SaveOverrides | ev.Settle


class Executor:
    """For one director: `put` takes its events, `notice` what belongs in the journal."""

    def __init__(
        self,
        config: Config,
        put: Put,
        notice: Callable[[str, str, str], None],
        peers: peer_channel.PeerChannel,
        journal: journal_file.JournalFile,
        listeners: tuple[control.Control, upkeep.Upkeep],
    ) -> None:
        self.ipvs = ipvs.Ipvs()
        self.settle = settle.Settle(self.ipvs, config, notice)
        self.keys: tuple[Key, ...] = ()
        self._put = put
        self._peers = peers
        self._journal = journal
        self._control, self._upkeep = listeners
        self._stance = stance_file.StanceFile(config.state_dir)
        self._overrides = overrides_file.OverridesFile(config.state_dir)
        self._work: asyncio.Queue[Wanted] = asyncio.Queue(WAITING)
        self._http: tuple[str, int] | None = None
        self._owned = state_file.StateFile(f"{config.state_dir}/{owned.NAME}")

    def want(self, action: Wanted) -> None:
        """To be done after all that was wanted before."""
        self._work.put_nowait(action)

    async def run(self, first_read: Callable[[], None]) -> None:
        """For ever: one thing after the other; `first_read` is called after each look at IPVS."""
        while True:
            action = await self._work.get()
            match action:
                case ev.ReadKernel():
                    await self._read()
                    first_read()
                case ev.Apply():
                    await self._apply(action)
                case ev.SaveOwned(keys):
                    await self._owned.keep(partial(owned.encode, keys))
                    self._tell_owned()
                case ev.SaveStance(stance):
                    await self._put(ev.StanceSaved(await self._stance.save(stance)))
                case ev.SaveOverrides(orders):
                    await self._put(ev.OverridesSaved(await self._overrides.save(orders)))
                case ev.Settle(config):
                    await self._settle_all(config)
                case _:
                    assert_never(action)

    async def look_again(self, config: Callable[[], Config | None]) -> None:
        """For ever: what the kernel tells no events of is looked at again and again."""
        for turn in itertools.count(1):
            await asyncio.sleep(LOOK_EVERY)
            latest = config()
            if latest is not None and self._work.empty():
                self._work.put_nowait(ev.Settle(latest))
            if turn % NEIGHBOURS:
                continue
            beside = await asyncio.to_thread(neighbours.look)
            self.settle.trouble("neighbour", "; ".join(str(n) for n in beside if n.certain))

    async def _read(self) -> None:
        started = child.now()
        try:
            table, usage = await self.ipvs.read()
        except KernelError as error:
            await self._put(ev.KernelUnreadable(str(error)))
        else:
            await self._put(ev.KernelRead(table, usage, child.now() - started))

    async def _apply(self, action: ev.Apply) -> None:
        tried = frozenset(plan.service_of(step) for step in action.operations)
        try:
            refused = await self.ipvs.apply(action.operations)
            failures = tuple((plan.service_of(f.operation), str(f)) for f in refused)
        except KernelError as error:
            failures = tuple((key, str(error)) for key in tried)
        await self._put(ev.Applied(tried, failures))

    async def _settle_all(self, config: Config) -> None:
        await self.settle.settle(config)
        self.settle.trouble("runtime_dir", await self._upkeep.look())
        self.settle.trouble("peer_channel", self._peers.follow(config, self.keys))
        self.settle.trouble("own_address", own_address.elsewhere(config))
        self.settle.trouble("api_http", await self._follow_http(config))
        await self._owned.retry()
        self._tell_owned()
        await self._stance.retry()
        self.settle.trouble("stance_not_saved", self._stance.trouble)
        await self._overrides.retry()
        self.settle.trouble("orders_not_saved", self._overrides.trouble)

    async def _follow_http(self, config: Config) -> str:
        """Listen for readers where the configuration says; why not, or nothing."""
        http = config.api.http
        wanted = (http.address, http.port) if http else None
        if wanted == self._http:
            return ""
        await self._control.close_http()
        self._http = None
        if wanted is None:
            return ""
        try:
            await self._control.open_http(*wanted)
        except OSError as error:
            return f"api.http: cannot listen on {http}: {os.strerror(error.errno or 0)}"
        self._http = wanted
        return ""

    def _tell_owned(self) -> None:
        """What is ours is noted before it is made; what the disk refuses, or has not taken in time,
        is tried again by and by, and services do not wait for it."""
        trouble = self._owned.trouble
        reason = f"{trouble}; make room, it is tried again" if trouble else self._journal.trouble
        self.settle.trouble("state_not_saved", reason)
