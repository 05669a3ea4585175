"""Virtual routes and rules on the kernel: carries out what core/routing plans.

The picture of ours (`_held`) is read at start and kept in step by the kernel's events, of which a
filter lets only ours through. Reading a table of the Internet's size takes the kernel tens of
milliseconds even though it answers with nothing else than ours; so it is done on a thread, and at
most for a thousandth of the time. In between, whatever may have taken routes away without an event
(`doubt`) has all of them written again, which costs one message each.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hadirector.core import routing
from hadirector.core.routing import Belonging, Key, Put, Route, Rule, Step, Take, key_of
from hadirector.shell import bpf, netlink, realtime, route_messages, rtnetlink
from hadirector.shell.links import Table
from hadirector.shell.netlink import KernelError, Refusal, Request
from hadirector.shell.route_messages import Entry, Gone

log = logging.getLogger(__name__)

READ_EVERY = 60.0  # seconds between readings
_READ_SHARE = 1000  # at most this part of the time
_READ_AGAIN = 1.0  # seconds: it changed meanwhile
_PATIENCE = 10.0  # seconds for a reading
_READS = 64  # datagrams per wake-up
_LARGEST_READ = 64 << 10
_MAIN = 254  # RT_TABLE_MAIN

Asked = dict[Key, Belonging]
"""By their names in the kernel, as they were asked for."""


class Routes:
    """The routes and rules this process put there, and the way to put more. `changed` is called
    when something has to be made so again."""

    def __init__(self, route: rtnetlink.Route, table: Table, changed: Callable[[], None]) -> None:
        self.restored: list[Belonging] = []  # as asked for, for whoever tells of it
        self.refused: dict[Belonging, str] = {}  # likewise
        self._route = route
        self._table = table
        self._changed = changed
        self._held: dict[Key, Belonging] = {}
        self._known = False  # whether it was read what former processes left
        self._own: set[Key] = set()  # put by this process and not taken
        self._lost: set[Key] = set()  # were: a reading did not find them
        self._doubt = False
        self._version = 0  # of the picture: a reading that was overtaken is of no use
        self._watch: socket.socket | None = None
        self._reader = ThreadPoolExecutor(1, "routes", initializer=realtime.follow)
        self._reading = False
        self._read_at = 0.0

    def follow(self, wanted: bool) -> None:
        """Listen to the kernel while any are configured; in any case find out once what a former
        process left."""
        loop = asyncio.get_running_loop()
        if wanted and self._watch is None:
            self._watch = netlink.open_socket(rtnetlink.NETLINK_ROUTE, route_messages.GROUPS)
            bpf.attach(self._watch, route_messages.FILTER)
            loop.add_reader(self._watch.fileno(), self._events)
            self._read_at = 0.0
        elif not wanted:
            self._deafen()
        due = not self._known or self._watch is not None
        if due and not self._reading and loop.time() >= self._read_at:
            self._reading = True
            version, started = self._version, loop.time()
            reading = loop.run_in_executor(self._reader, _read_all)
            reading.add_done_callback(lambda done: self._read(done, version, started))

    def doubt(self) -> None:
        """The kernel may have taken some away without a word."""
        self._doubt = True

    def place(self, wanted: Iterable[Belonging]) -> None:
        """Put these on, now."""
        these = {key_of(one): (one, asked) for one, asked in self._resolve(wanted)}
        steps = routing.place([one for one, _ in these.values()], self._held)
        self._carry_out(steps, {key: asked for key, (_, asked) in these.items()})

    def drop(self, unwanted: Iterable[Belonging]) -> None:
        """Take these off, now."""
        these = self._resolve(unwanted)
        names = {key_of(one) for one, _ in these}
        self._own -= names
        self._lost -= names
        for _, asked in these:
            self.refused.pop(asked, None)
        held = self._held if self._known else {key_of(one): one for one, _ in these}
        self._carry_out(routing.drop([one for one, _ in these], held), {})

    def reconcile(self, wanted: Iterable[Belonging]) -> int:
        """Make it so that exactly these are there; how much of it was not so."""
        these = self._resolve(wanted)
        asked = {key_of(one): original for one, original in these}
        doubt, self._doubt = self._doubt, False
        self._own &= asked.keys()
        self._lost &= asked.keys()
        originals = set(asked.values())
        self.refused = {one: why for one, why in self.refused.items() if one in originals}
        plan = routing.reconcile if self._known else routing.place
        return self._carry_out(plan([one for one, _ in these], self._held, doubt), asked)

    def clear(self) -> None:
        """Nothing of ours stays, whoever left it. Reads there and then."""
        try:
            self._compare(_read_all())
        except (KernelError, OSError) as error:
            log.error("routes: not read: %s", error)
        self.reconcile(())

    def close(self) -> None:
        """Give the sockets back; a reading under way is waited for."""
        self._deafen()
        self._reader.shutdown()

    def _deafen(self) -> None:
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    # --- writing -----------------------------------------------------------------------------

    def _resolve(self, these: Iterable[Belonging]) -> list[tuple[Belonging, Belonging]]:
        """As the kernel is to have them, with what was asked for."""
        return [(self._resolved(one), one) for one in these]

    def _resolved(self, one: Belonging) -> Belonging:
        if isinstance(one, Rule):
            return one
        home = one.interface or one.home
        return replace(one, table=one.table or self._table.vrf_table(home) or _MAIN, home="")

    def _carry_out(self, steps: list[Step], asked: Asked) -> int:
        """Write the steps; how many changed something."""
        possible = [(s, request) for s in steps if (request := self._request(s, asked))]
        if not possible:
            return 0
        self._version += 1
        try:
            refused = self._route.execute([request for _, request in possible], "set routes")
        except KernelError as error:
            log.error("routes: %s", error)
            self._doubt = True
            return 0
        refusals = {refusal.place: refusal for refusal in refused}
        changed = 0
        for place, (step, _) in enumerate(possible):
            if (refusal := refusals.get(place)) is not None:
                self._meet(step, refusal, asked)
            else:
                changed += self._enter(step, asked)
        return changed

    def _request(self, step: Step, asked: Asked) -> Request | None:
        what = step.what
        interface = what.interface if isinstance(what, Route) else None
        index = self._table.index(interface) if interface else None
        if isinstance(step, Take):
            return route_messages.take(what, index)
        if interface and index is None:
            self._held.pop(key_of(what), None)
            self._refuse(step, f"{interface} is missing", asked)
            return None
        return route_messages.put(what, index, replace=step.replace)

    def _enter(self, step: Step, asked: Asked) -> bool:
        """A step was carried out; whether that changed anything."""
        name = key_of(step.what)
        if isinstance(step, Take):
            self._held.pop(name, None)
            return True
        if not step.replace and name in self._own | self._lost:
            self.restored.append(asked[name])
        self._have(step, asked)
        return not step.replace

    def _have(self, step: Put, asked: Asked) -> None:
        name = key_of(step.what)
        self._held[name] = step.what
        self._own.add(name)
        self._lost.discard(name)
        self.refused.pop(asked[name], None)

    def _meet(self, step: Step, refusal: Refusal, asked: Asked) -> None:
        """A step was refused. An equal one that is there is ours, unless we know better."""
        name = key_of(step.what)
        text = refusal.text or errno.errorcode.get(refusal.errno, str(refusal.errno))
        if isinstance(step, Take):
            log.debug("take %s: %s", step.what, text)
            self._held.pop(name, None)
        elif refusal.errno != errno.EEXIST:
            self._held.pop(name, None)
            self._refuse(step, f"the kernel refuses it: {text}", asked)
        elif name in self._held or name in self._own:
            self._have(step, asked)
        elif self._known:
            self._refuse(step, _taken(step.what), asked)

    def _refuse(self, step: Put, reason: str, asked: Asked) -> None:
        self.refused[asked[key_of(step.what)]] = reason

    # --- reading -----------------------------------------------------------------------------

    def _events(self) -> None:
        assert self._watch is not None
        try:
            for _ in range(_READS):
                data, _, _, (port, _) = self._watch.recvmsg(_LARGEST_READ)
                for reply in netlink.messages(data) if port == 0 else ():
                    self._take_in(route_messages.change(reply))
        except BlockingIOError:
            return
        except (OSError, KernelError) as error:
            log.warning("routes: events lost (%s): writing all again", error)
            self._doubt, self._read_at = True, 0.0
            self._changed()

    def _take_in(self, news: Entry | Gone | None) -> None:
        if news is None:
            return
        self._version += 1
        if isinstance(news, Entry):
            one = self._named(news)
            self._held[key_of(one)] = one
            return
        name = key_of(news.entry.what)
        self._held.pop(name, None)
        if name in self._own:
            self._changed()

    def _read(self, reading: asyncio.Future[list[Entry]], version: int, started: float) -> None:
        now = asyncio.get_running_loop().time()
        self._reading = False
        self._read_at = now + _READ_AGAIN
        if reading.cancelled():
            return
        if (error := reading.exception()) is not None:
            log.error("routes: not read: %s", error)
        elif version != self._version:  # what was read is older than what was written
            asyncio.get_running_loop().call_later(_READ_AGAIN, self._changed)
        else:
            self._read_at = now + max(READ_EVERY, (now - started) * _READ_SHARE)
            self._compare(reading.result())

    def _compare(self, entries: list[Entry]) -> None:
        """What was read replaces the picture. What it lacks of ours is gone, or somebody else's
        has its place."""
        found = {key_of(one): one for one in map(self._named, entries)}
        lost = self._own - found.keys()
        news = not self._known or lost or found != self._held
        self._known, self._held = True, found
        self._lost |= lost
        self._own -= lost
        if news:
            self._changed()

    def _named(self, entry: Entry) -> Belonging:
        if isinstance(entry.what, Rule) or not entry.index:
            return entry.what
        return replace(entry.what, interface=self._table.name(entry.index))


def _read_all() -> list[Entry]:
    """Every route and rule of ours, by a socket of its own."""
    route = rtnetlink.Route(_PATIENCE, strict=True)
    try:
        found: list[Entry | None] = []
        for family in route_messages.FAMILIES:
            routes = route.dump(route_messages.list_routes(family), "list routes")
            rules = route.dump(route_messages.list_rules(family), "list rules")
            found += [route_messages.read_route(body) for body in routes]
            found += [route_messages.read_rule(body) for body in rules]
        return [entry for entry in found if entry is not None]
    finally:
        route.close()


def _taken(what: Belonging) -> str:
    if isinstance(what, Rule):
        return "somebody else's equal rule is there: remove it, or give this one a priority"
    return "somebody else's route to there is in the table: give this one a metric of its own"
