"""The director process: composition of core/director with IPVS, channels, peers and the API.

One task takes an event from the inbox (or wakes at the core's deadline) and calls `handle`; what
the core wants told is told at once, what it wants done to the kernel goes to one executor task
that does it in order and answers with events.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable

from hadirector import __version__, kept
from hadirector.config import apart, handover, problem
from hadirector.core import director as core
from hadirector.core import director_events as ev
from hadirector.core import explain, ipvs_view, messages, peer_messages, peers, plan, status
from hadirector.core.ipvs import ServiceKey
from hadirector.core.journal import GRAVE
from hadirector.core.keys import Key, Secrets
from hadirector.core.messages import OrderKind, Process
from hadirector.core.settings.cluster import Config
from hadirector.shell import (
    channel,
    child,
    confine,
    control,
    hook_note,
    ipvs,
    ipvs_api,
    journal_file,
    last_good,
    neighbours,
    own_address,
    owned,
    peer_channel,
    pending,
    runner,
    secrets,
    settle,
    stance_file,
    upkeep,
    wall_times,
)
from hadirector.shell.netlink import KernelError

log = logging.getLogger(__name__)

INBOX = 8192  # events; more than the channels can hold between two turns of the loop
LEAVE_PATIENCE = 165.0  # seconds: peers wait 160 s at most, at adverts of 40 s
LOOK_EVERY = 1.0  # seconds between looks at what has no events: settings, sync threads, sockets
HOOKS_PATIENCE = 8.0  # seconds; with the steps of leaving, less than the supervisor's 20 s
NEIGHBOURS = 10  # of these between looks at every process of the host
FIXED = ("node", "state_dir", "runtime_dir")  # what only a restart can change


class DirectorProcess:
    """One running director."""

    def __init__(self, process: child.Child, config: Config) -> None:
        self._child = process
        self._config = config
        past = journal_file.load(config.state_dir, _unix_offset())
        ours = owned.load(config.state_dir)
        stance = stance_file.load(config.state_dir)
        left_over = hook_note.load(config.runtime_dir)
        self._core = core.Director(__version__, ours, child.now(), past, stance, left_over)
        self._walls = wall_times.WallTimes(past, _unix_offset())
        self._journal = journal_file.JournalFile(config.state_dir)
        self._inbox: asyncio.Queue[ev.Event] = asyncio.Queue(INBOX)
        self._work: asyncio.Queue[ev.Action] = asyncio.Queue(INBOX)
        self._ipvs = ipvs.Ipvs()
        self._settle = settle.Settle(self._ipvs, config, self._notice)
        self._runner = runner.Runner(process, self._received)
        self._hook_note = hook_note.Keeper(config.runtime_dir)
        self._peers = peer_channel.PeerChannel(time.time_ns(), self._heard, self._doubted)
        self._stance = stance_file.StanceFile(config.state_dir)
        self._pending = pending.Pending(self._put, config.node)
        self._keys: tuple[Key, ...] = ()
        self._control = control.Control(
            control.Answers(
                self._status,
                self._events,
                self._explain,
                self._reload,
                self._restart,
                self._pending.ask,
                (ipvs_api.IpvsApi(self._ipvs, self._service_names, self._zeroed).add_routes,),
            )
        )
        self._upkeep = upkeep.Upkeep(
            config.runtime_dir, self._control, config.api.socket, self._encoded
        )
        self._http: tuple[str, int] | None = None
        self._reloads: asyncio.Queue[None] = asyncio.Queue(1)
        self._reloading = asyncio.Lock()
        self._unsaved: frozenset[ServiceKey] | None = None
        self._stop_subject: str | None = None
        self._seen = ""
        self._decided = asyncio.Event()

    async def run(self) -> None:
        """Until told to stop."""
        self._child.start(self._received)
        await self._upkeep.open()
        self._put(ev.Configured(self._config, await self._read_secrets()))
        refused = await kept.refusal(self._config, self._core.journal.since(0))
        if refused is not None:
            self._put(refused)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._decide(), name="decide"),
                tasks.create_task(self._execute(), name="execute"),
                tasks.create_task(self._look_again(), name="look again"),
                tasks.create_task(self._obey_reloads(), name="reload"),
                tasks.create_task(self._journal.run(), name="journal"),
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

    def _heard(self, node: str, said: peer_messages.PeerMessage) -> None:
        if isinstance(said, peers.Presence):
            self._put(ev.Heard(said))
        elif not isinstance(said, peer_messages.Echo):
            self._put(ev.PeerSaid(node, said))

    def _doubted(self, node: str, reason: str) -> None:
        self._put(ev.PeerRefused(node, reason))

    def _received(self, sender: Process, received: channel.Received) -> None:
        message = received.message
        if isinstance(message, messages.Order) and message.token != self._seen:
            self._seen = message.token
            if message.kind is OrderKind.STOP:
                self._stop_subject = message.subject
                self._child.stopping.set()
            elif message.kind is OrderKind.RELOAD:
                with contextlib.suppress(asyncio.QueueFull):  # one that waits reads the newest
                    self._reloads.put_nowait(None)
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
            for action in self._core.handle(event, child.now()):
                self._act(action)
            self._decided.set()

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
            case ev.ReadKernel() | ev.Apply() | ev.SaveOwned() | ev.SaveStance() | ev.Settle():
                self._work.put_nowait(action)  # at most one read, one apply and few others wait

    def _write(self, event: messages.Event, logged: bool) -> None:
        if not logged:
            inputs = "".join(f" {name}={value}" for name, value in event.inputs.items())
            level = logging.WARNING if event.kind in GRAVE else logging.INFO
            what = (event.kind, event.subject, event.reason, inputs)
            log.log(level, "%s subject=%s reason=%r%s", *what)
        offset = self._walls.note(event, _unix_offset())
        self._control.publish(status.event_json(event, offset))
        self._journal.add(event, offset)

    # The kernel's turn

    async def _execute(self) -> None:
        while True:
            action = await self._work.get()
            match action:
                case ev.ReadKernel():
                    await self._read()
                case ev.Apply():
                    await self._apply(action)
                case ev.SaveOwned(keys):
                    self._unsaved = keys
                    await self._save_owned()
                case ev.SaveStance(stance):
                    await self._inbox.put(ev.StanceSaved(await self._stance.save(stance)))
                case ev.Settle(config):
                    await self._settle_all(config)
                case _:
                    raise AssertionError(action)

    async def _read(self) -> None:
        started = child.now()
        try:
            table, usage = await self._ipvs.read()
        except KernelError as error:
            await self._inbox.put(ev.KernelUnreadable(str(error)))
        else:
            await self._inbox.put(ev.KernelRead(table, usage, child.now() - started))
        self._become_ready()

    async def _apply(self, action: ev.Apply) -> None:
        tried = frozenset(plan.service_of(step) for step in action.operations)
        try:
            refused = await self._ipvs.apply(action.operations)
            failures = tuple((plan.service_of(f.operation), str(f)) for f in refused)
        except KernelError as error:
            failures = tuple((key, str(error)) for key in tried)
        await self._inbox.put(ev.Applied(tried, failures))

    async def _settle_all(self, config: Config) -> None:
        await self._settle.settle(config)
        self._settle.trouble("runtime_dir", await self._upkeep.look())
        self._settle.trouble("peer_channel", self._peers.follow(config, self._keys))
        self._settle.trouble("own_address", own_address.elsewhere(config))
        self._settle.trouble("api_http", await self._follow_http(config))
        await self._save_owned()
        await self._stance.retry()
        self._settle.trouble("stance_not_saved", self._stance.trouble)

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

    async def _look_again(self) -> None:
        """What the kernel tells no events of is looked at again and again."""
        for turn in itertools.count(1):
            await asyncio.sleep(LOOK_EVERY)
            if self._core.config is not None and self._work.empty():
                self._work.put_nowait(ev.Settle(self._core.config))
            if turn % NEIGHBOURS:
                continue
            beside = await asyncio.to_thread(neighbours.look)
            self._settle.trouble("neighbour", "; ".join(str(n) for n in beside if n.certain))

    async def _save_owned(self) -> None:
        """Note what is ours; what a full disk refuses is tried again by and by."""
        if self._unsaved is None:
            return
        try:
            await asyncio.to_thread(owned.save, self._config.state_dir, self._unsaved)
        except OSError as error:
            where = f"{self._config.state_dir}: {error.strerror or error}"
            self._settle.trouble("state_not_saved", f"{where}; make room, it is tried again")
        else:
            self._unsaved = None
            self._settle.trouble("state_not_saved", self._journal.trouble)

    def _become_ready(self) -> None:
        if not self._child.ready:
            self._child.ready = True
            self._child.status = f"node {self._config.node} of {self._config.cluster}"
            self._child.tell()

    # The API's questions and orders

    def _status(self) -> status.Json:
        losses = {"peer_channel": self._peers.refused, "journal": self._journal.lost}
        for process, link in self._child.channels.items():
            losses[f"to_{process.value}"] = link.counts.superseded + link.counts.overflowed
            losses[f"from_{process.value}"] = link.counts.malformed + link.counts.unlawful
        gate = self._peers.gate
        shell = status.Shell(self._settle.threads, self._settle.troubles, gate.refused, gate.signs)
        return status.build(self._core, shell, _unix_offset(), losses)

    def _events(self, since: int) -> list[status.Json]:
        return [status.event_json(e, self._walls.of(e)) for e in self._core.journal.since(since)]

    def _explain(self, what: str) -> status.Json:
        return explain.build(self._core, what, self._walls.of)

    def _service_names(self) -> ipvs_view.Names:
        return ipvs_view.names(self._config.services)

    def _zeroed(self, subject: str, reason: str) -> None:
        self._notice("counters_zeroed", subject, reason)

    def _restart(self) -> str | None:
        token = f"restart-{child.now():.6f}"
        request = messages.Request(messages.RequestKind.RESTART, token, Process.DIRECTOR.value)
        self._child.send(Process.SUPERVISOR, request)
        return None

    async def _obey_reloads(self) -> None:
        """Reloads asked for by signal, one after the other."""
        while True:
            await self._reloads.get()
            await self._reload()

    async def _reload(self) -> control.Reloaded:
        async with self._reloading:
            since = self._core.journal.newest
            told = "configuration refused; the last good one runs"
            self._ask_supervisor(messages.RequestKind.RELOADING, "")
            try:
                warnings, refusal = await self._read_again()
                if refusal is None:
                    told = "reloaded"
                    return control.Reloaded(None, warnings, since)
                trouble = apart.trouble(self._config.path, refusal.brief)
                self._put(ev.Refused(refusal.brief, trouble))
                await asyncio.to_thread(last_good.refuse, self._config.runtime_dir, trouble)
                return control.Reloaded(refusal.whole)
            finally:  # systemd waits for it
                self._ask_supervisor(messages.RequestKind.RELOADED, told)

    async def _read_again(self) -> tuple[tuple[str, ...], apart.Refusal | None]:
        """What the file is warned of, and why it is refused if it is."""
        try:
            blob = await apart.parse(self._config.path, self._config.node)
            loaded = handover.decode(blob)
        except (OSError, TimeoutError, ValueError) as error:
            text = f"{self._config.path}: not read: {str(error) or 'took too long'}"
            return (), apart.Refusal(text)
        for each in loaded.problems:
            log.log(logging.WARNING if loaded.config else logging.ERROR, "%s", each)
        new = loaded.config
        if new is None:
            whole = "\n".join(str(problem) for problem in loaded.problems)
            return (), apart.Refusal(whole, problem.brief(loaded.problems))
        fixed = [name for name in FIXED if getattr(new, name) != getattr(self._config, name)]
        if fixed or new.api.socket != self._config.api.socket:
            names = ", ".join(fixed or ["api.socket"])
            text = f"{self._config.path}: {names} cannot change by reload: restart the daemon"
            return (), apart.Refusal(text)
        found, exposed = await secrets.read_all(new)
        if found.troubles:
            return (), apart.Refusal("\n".join(found.troubles.values()))
        self._settle.trouble("secrets", "; ".join(exposed))
        self._config, self._keys = new, found.keys
        try:
            await asyncio.to_thread(last_good.keep, new.runtime_dir, blob)
        except OSError as error:
            text = f"{new.runtime_dir}/{last_good.BLOB}: {error.strerror or error}"
            self._notice("state_not_saved", new.node, f"{text}; a restart would forget this reload")
        await self._inbox.put(ev.Configured(new, found))
        return tuple(map(str, loaded.problems)), None

    def _encoded(self) -> bytes:
        return handover.encode(handover.Loaded(self._config, ()))

    async def _read_secrets(self) -> Secrets:
        """At start: what cannot be read is a fault of the instances that need it."""
        found, exposed = await secrets.read_all(self._config)
        self._settle.trouble("secrets", "; ".join((*found.troubles.values(), *exposed)))
        self._keys = found.keys
        return found

    def _ask_supervisor(self, kind: messages.RequestKind, subject: str) -> None:
        token = f"{kind.value}-{child.now():.6f}"
        self._child.send(Process.SUPERVISOR, messages.Request(kind, token, subject))

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
            await _patiently("settings", self._settle.restore)
        await _patiently("api", self._control.close)
        await _patiently("journal", self._journal.flush)
        await _patiently("hooks", self._hook_note.close)
        self._peers.close()
        self._ipvs.close()

    async def _remove_services(self) -> None:
        steps = self._core.leaving()
        for failure in await self._ipvs.apply(steps) if steps else ():
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
    """Without root: only what netlink and the sync threads ask for. Root keeps its right to files:
    they may be another user's, and a director that cannot read them is worth nothing."""
    if os.geteuid() != 0:
        confine.keep({confine.NET_ADMIN, confine.NET_RAW})
    return ""


if __name__ == "__main__":
    sys.exit(child.main(Process.DIRECTOR, body, _confine))
