"""The director process: composition of core/director with IPVS, channels, peers and the API.

One task takes an event from the inbox (or wakes at the core's deadline) and calls `handle`; what
the core wants told is told at once, what it wants done to the kernel goes to one executor task
that does it in order and answers with events.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable

from hadirector import __version__, kept, planning, reloading
from hadirector.core import director as core
from hadirector.core import director_events as ev
from hadirector.core import explain, messages, peer_messages, peers, status
from hadirector.core.journal import GRAVE
from hadirector.core.keys import Secrets
from hadirector.core.messages import OrderKind, Process
from hadirector.core.record_watch import SeenRecords, WatchRecords
from hadirector.core.settings.cluster import Config, ResyncPolicy
from hadirector.core.settings.services import VirtualService
from hadirector.core.syncer_messages import Resync
from hadirector.shell import (
    channel,
    child,
    confine,
    control,
    drain_watch,
    executor,
    hook_note,
    ipvs_api,
    journal_file,
    orders_api,
    overrides_file,
    owned,
    peer_channel,
    pending,
    record_stream,
    report_api,
    resync_api,
    runner,
    stance_file,
    upkeep,
    wall_times,
)
from hadirector.shell.netlink import KernelError

log = logging.getLogger(__name__)

INBOX = 8192  # events; more than the channels can hold between two turns of the loop
RECORDS_EVERY = 0.5  # seconds between words to the syncer that somebody watches records
AT_ONCE = 200  # actions, before others have their turn: the supervisor wants to hear of us
LEAVE_PATIENCE = 165.0  # seconds: peers wait 160 s at most, at adverts of 40 s
HOOKS_PATIENCE = 8.0  # seconds; with the steps of leaving, less than the supervisor's 20 s


class DirectorProcess:
    """One running director."""

    def __init__(self, process: child.Child, config: Config) -> None:
        self._child = process
        past = journal_file.load(config.state_dir, _unix_offset())
        ours = owned.load(config.state_dir)
        stance = stance_file.load(config.state_dir)
        left_over = hook_note.load(config.runtime_dir)
        orders = overrides_file.load(config.state_dir)
        self._core = core.Director(__version__, ours, child.now(), past, stance, left_over, orders)
        self._walls = wall_times.WallTimes(past, _unix_offset())
        self._journal = journal_file.JournalFile(config.state_dir)
        self._inbox: asyncio.Queue[ev.Event] = asyncio.Queue(INBOX)
        self._runner = runner.Runner(process, self._received)
        self._hook_note = hook_note.Keeper(config.runtime_dir)
        self._peers = peer_channel.PeerChannel(time.time_ns(), self._heard, self._doubted)
        self._pending = pending.Pending(self._put, config.node)
        self._records = record_stream.RecordStream()
        self._configured = asyncio.Event()
        self._control = control.Control(
            control.Answers(
                self._status,
                self._events,
                self._explain,
                lambda: self._reloading.reload(),
                self._restart,
                self._pending.ask,
                (
                    ipvs_api.IpvsApi(self._services, self._notice).add_routes,
                    planning.Planning(self._core, self._put).add_routes,
                    self._records.add_routes,
                    orders_api.OrdersApi(
                        self._pending.ask, drain_watch.DrainWatch(lambda: self._core)
                    ).add_routes,
                    resync_api.ResyncApi(self._resync).add_routes,
                    report_api.ReportApi(self._core.attendance.externals, self._put).add_routes,
                ),
                self._configured,
            )
        )
        self._upkeep = upkeep.Upkeep(
            config.runtime_dir, self._control, config.api.socket, lambda: self._reloading.encoded()
        )
        self._executor = executor.Executor(
            config,
            self._inbox.put,
            self._notice,
            self._peers,
            self._journal,
            (self._control, self._upkeep),
        )
        self._reloading = reloading.Reloading(
            process,
            config,
            self._inbox.put,
            self._keyed,
            self._executor.settle,
            lambda: self._core.journal.newest,
        )
        self._stop_subject: str | None = None
        self._seen = ""
        self._decided = asyncio.Event()

    async def run(self) -> None:
        """Until told to stop."""
        self._child.start(self._received)
        await self._upkeep.open()
        config = self._reloading.config
        self._put(ev.Configured(config, await self._reloading.read_secrets()))
        refused = await kept.refusal(config, self._core.journal.since(0))
        if refused is not None:
            self._put(refused)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._decide(), name="decide"),
                tasks.create_task(self._executor.run(self._become_ready), name="execute"),
                tasks.create_task(self._executor.look_again(self._wanted), name="look again"),
                tasks.create_task(self._reloading.obey(), name="reload"),
                tasks.create_task(self._journal.run(), name="journal"),
                tasks.create_task(self._show_records(), name="records"),
            ]
            await self._child.stopping.wait()
            if self._child.fault:
                self._stop_subject = "restart"  # a successor takes over what is there
            await self._wait_for_election()
            await self._wait_for_hooks()
            for task in running:
                task.cancel()
        await self._leave()

    # Events in

    def _put(self, event: ev.Event) -> None:
        """What comes from outside; what the executor answers waits for its place instead."""
        try:
            self._inbox.put_nowait(event)
        except asyncio.QueueFull:
            # Levels are sent again, verdicts refreshed: what is lost here comes back.
            log.error("inbox full: dropped %s", type(event).__name__)

    def _notice(self, kind: str, subject: str, reason: str) -> None:
        self._put(ev.Noticed(kind, subject, reason))

    def _keyed(self, found: Secrets) -> None:
        self._executor.keys = found.keys

    def _wanted(self) -> Config | None:
        return self._core.config

    def _heard(self, node: str, said: peer_messages.PeerMessage) -> None:
        if isinstance(said, peers.Presence):
            self._put(ev.Heard(said))
        elif not isinstance(said, peer_messages.Echo):
            self._put(ev.PeerSaid(node, said))

    def _doubted(self, node: str, reason: str) -> None:
        self._put(ev.PeerRefused(node, reason))

    def _resync(self) -> str:
        """Ask the syncer for it; why that is vain, or nothing."""
        sync = self._core.config.connection_sync if self._core.config else None
        if sync is None or sync.resync is ResyncPolicy.NEVER:
            return "there is nothing to resync: connection_sync is off, or its resync is 'never'"
        self._child.send(Process.SYNCER, Resync(f"resync-{child.now():.6f}"))
        return ""

    async def _show_records(self) -> None:
        """Have the syncer tell of records while somebody watches."""
        while True:
            await asyncio.sleep(RECORDS_EVERY)
            if self._records.watched:
                until = child.now() + 4 * RECORDS_EVERY
                self._child.send(Process.SYNCER, WatchRecords(), until)

    def _received(self, sender: Process, received: channel.Received) -> None:
        message = received.message
        if isinstance(message, SeenRecords):
            self._records.publish(message, _unix_offset())
            return
        if isinstance(message, messages.Order) and message.token != self._seen:
            self._seen = message.token
            if message.kind is OrderKind.STOP:
                self._stop_subject = message.subject
                self._child.stopping.set()
            elif message.kind is OrderKind.RELOAD:
                self._reloading.ask()
            return
        self._put(ev.From(sender, message, received.valid_until))

    # The core's turn, and what is told at once

    async def _decide(self) -> None:
        while True:
            wait = max(0.0, self._core.deadline() - child.now())
            try:
                async with asyncio.timeout(wait):
                    event: ev.Event = await self._inbox.get()
            except TimeoutError:
                event = ev.Woken()
            for number, action in enumerate(self._core.handle(event, child.now()), 1):
                self._act(action)
                if number % AT_ONCE == 0:  # 37,000 servers that come up are as many lines to write
                    await asyncio.sleep(0)
            self._decided.set()
            if self._core.config is not None:
                self._configured.set()

    def _act(self, action: ev.Action) -> None:
        match action:
            case ev.Send(to, message, valid_for):
                self._child.send(to, message, child.now() + valid_for)
            case ev.SendPresence(presence):
                self._peers.send(presence)
            case ev.TellPeer(node, said):
                self._peers.tell(node, said)
            case ev.Reply():
                self._pending.reply(action)
            case ev.Write(event, logged):
                self._write(event, logged)
            case ev.Employ(wanted):
                self._runner.want(wanted)
            case ev.SaveHooks(waiting):
                self._hook_note.keep(waiting)
            case ev.ReadKernel() | ev.Apply() | ev.Settle():
                self._executor.want(action)
            case ev.SaveOwned() | ev.SaveStance() | ev.SaveOverrides():
                self._executor.want(action)

    def _write(self, event: messages.Event, logged: bool) -> None:
        if not logged:
            inputs = "".join(f" {name}={value}" for name, value in event.inputs.items())
            level = logging.WARNING if event.kind in GRAVE else logging.INFO
            what = (event.kind, event.subject, event.reason, inputs)
            log.log(level, "%s subject=%s reason=%r%s", *what)
        offset = self._walls.note(event, _unix_offset())
        self._control.publish(status.event_json(event, offset))
        self._journal.add(event, offset)

    def _become_ready(self) -> None:
        if not self._child.ready:
            self._child.ready = True
            config = self._reloading.config
            self._child.status = f"node {config.node} of {config.cluster}"
            self._child.tell()

    # The API's questions and orders

    def _status(self) -> status.Json:
        losses = {"peer_channel": self._peers.refused, "journal": self._journal.lost}
        for process, link in self._child.channels.items():
            losses[f"to_{process.value}"] = link.counts.superseded + link.counts.overflowed
            losses[f"from_{process.value}"] = link.counts.malformed + link.counts.unlawful
        gate = self._peers.gate
        settle = self._executor.settle
        shell = status.Shell(
            settle.threads, settle.troubles, gate.refused, gate.signs, settle.unguarded
        )
        return status.build(self._core, shell, _unix_offset(), losses)

    def _events(self, since: int) -> list[status.Json]:
        return [status.event_json(e, self._walls.of(e)) for e in self._core.journal.since(since)]

    def _explain(self, what: str) -> status.Json:
        return explain.build(self._core, what, self._walls.of)

    def _services(self) -> tuple[VirtualService, ...]:
        return self._reloading.config.services

    def _restart(self) -> str | None:
        token = f"restart-{child.now():.6f}"
        request = messages.Request(messages.RequestKind.RESTART, token, Process.DIRECTOR.value)
        self._child.send(Process.SUPERVISOR, request)
        return None

    # Leaving

    async def _wait_for_election(self) -> None:
        """Told to stop by a signal, not in turn: forward until the VIPs are gone."""
        if self._stop_subject is not None:
            return
        master = messages.RouterStateName.MASTER
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                while any(router.state is master for router in self._core.routers):
                    self._decided.clear()
                    await self._decided.wait()

    async def _wait_for_hooks(self) -> None:
        """Let what just happened be told; what failed before is not waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOOKS_PATIENCE):
                while not self._inbox.empty() or self._core.attendance.hooks.busy():
                    self._decided.clear()
                    await self._decided.wait()

    async def _leave(self) -> None:
        """In order: services that are ours go, sync threads end, sysctls are as they were.

        A restart leaves everything for the successor to adopt.
        """
        await _patiently("runner", self._runner.close)
        if self._stop_subject != "restart":
            self._hook_note.keep(())
            await _patiently("services", self._remove_services)
            await self._executor.settle.restore()  # patient by itself
        self._records.close()
        await _patiently("api", self._control.close)
        await _patiently("journal", self._journal.flush)
        await _patiently("hooks", self._hook_note.close)
        self._peers.close()
        self._executor.ipvs.close()

    async def _remove_services(self) -> None:
        steps = self._core.kernel.leaving()
        for failure in await self._executor.ipvs.apply(steps) if steps else ():
            log.warning("leaving: %s", failure)


async def _patiently(what: str, leave: Callable[[], Awaitable[None]]) -> None:
    """One step of leaving; the next ones come whatever it does."""
    try:
        async with asyncio.timeout(5.0):
            await leave()
    except (OSError, TimeoutError, KernelError) as error:
        log.warning("leaving: %s: %s", what, str(error) or "took too long")


def _unix_offset() -> float:
    return time.time() - child.now()


async def body(process: child.Child) -> None:
    """Run with the last good configuration the supervisor points to."""
    path = os.environ["HADIRECTOR_CONFIG"]
    try:
        await DirectorProcess(process, await kept.configuration(path)).run()
    except control.SocketInUse as error:
        log.error("api.socket: %s", error)
        sys.exit(child.NEVER_HERE)


def _confine() -> str:
    """Without root: only what netlink and the sync threads ask for, and the guard of their private
    interface, where the unit grants that. Root keeps its right to files: they may be another
    user's, and a director that cannot read them is worth nothing."""
    if os.geteuid() != 0:
        confine.keep({confine.NET_ADMIN, confine.NET_RAW, confine.BPF})
    return ""


if __name__ == "__main__":
    sys.exit(child.main(Process.DIRECTOR, body, _confine))
