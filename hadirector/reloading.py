"""Reads the configuration again while the director runs, and takes it or refuses it whole."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from hadirector.config import apart, handover, problem
from hadirector.core import differences, messages
from hadirector.core import director_events as ev
from hadirector.core.keys import Secrets
from hadirector.core.settings.cluster import Config
from hadirector.shell import child, control, last_good, secrets, settle

log = logging.getLogger(__name__)


class Reloading:
    """The configuration that runs, and how another comes in its place. `put` takes the director's
    events, `keyed` the secrets that belong to a configuration that is taken."""

    def __init__(
        self,
        process: child.Child,
        config: Config,
        put: Callable[[ev.Event], Awaitable[None]],
        keyed: Callable[[Secrets], None],
        kept: settle.Settle,
        newest: Callable[[], int],
    ) -> None:
        self.config = config
        self._child = process
        self._put = put
        self._keyed = keyed
        self._settle = kept
        self._newest = newest
        self._asked: asyncio.Queue[None] = asyncio.Queue(1)
        self._reloading = asyncio.Lock()

    def encoded(self) -> bytes:
        """The running configuration as it is handed to other processes."""
        return handover.encode(handover.Loaded(self.config, ()))

    def ask(self) -> None:
        """By signal: soon."""
        with contextlib.suppress(asyncio.QueueFull):  # one that waits reads the newest
            self._asked.put_nowait(None)

    async def obey(self) -> None:
        """For ever: reloads asked for by signal, one after the other."""
        while True:
            await self._asked.get()
            await self.reload()

    async def reload(self) -> control.Reloaded:
        """Now; how it went."""
        async with self._reloading:
            since, begun = self._newest(), child.now()
            told = "configuration refused; the last good one runs"
            self._tell(messages.RequestKind.RELOADING, "")
            try:
                blob, refusal = await self._parse()
                took = child.now() - begun
                warnings: tuple[str, ...] = ()
                if refusal is None:
                    warnings, refusal = await self._take(blob)
                if refusal is None:
                    told = "reloaded"
                    return control.Reloaded(None, warnings, since, took)
                trouble = apart.trouble(self.config.path, refusal.brief)
                await self._put(ev.Refused(refusal.brief, trouble))
                await asyncio.to_thread(last_good.refuse, self.config.runtime_dir, trouble)
                return control.Reloaded(refusal.whole)
            finally:  # systemd waits for it
                self._tell(messages.RequestKind.RELOADED, told)

    async def read_secrets(self) -> Secrets:
        """At start: what cannot be read is a fault of the instances that need it."""
        found, exposed = await secrets.read_all(self.config)
        self._settle.trouble("secrets", "; ".join((*found.troubles.values(), *exposed)))
        self._keyed(found)
        return found

    async def _parse(self) -> tuple[bytes, apart.Refusal | None]:
        """What the file says, or why nobody knows."""
        known = self.config
        try:
            return await apart.parse(known.path, known.node, known.runtime_dir), None
        except (OSError, TimeoutError) as error:
            return b"", apart.Refusal(_unread(known.path, str(error) or "took too long"))

    async def _take(self, blob: bytes) -> tuple[tuple[str, ...], apart.Refusal | None]:
        """What the file is warned of, and why it is refused if it is."""
        try:
            loaded = handover.decode(blob)
        except ValueError as error:
            return (), apart.Refusal(_unread(self.config.path, str(error)))
        for each in loaded.problems:
            log.log(logging.WARNING if loaded.config else logging.ERROR, "%s", each)
        new = loaded.config
        if new is None:
            whole = "\n".join(str(problem) for problem in loaded.problems)
            return (), apart.Refusal(whole, problem.brief(loaded.problems))
        if fixed := differences.fixed(self.config, new):
            return (), apart.Refusal(fixed)
        found, exposed = await secrets.read_all(new)
        if found.troubles:
            return (), apart.Refusal("\n".join(found.troubles.values()))
        self._settle.trouble("secrets", "; ".join(exposed))
        self.config = new = differences.sharing(self.config, new)
        self._keyed(found)
        try:
            await asyncio.to_thread(last_good.keep, new.runtime_dir, blob)
        except OSError as error:
            text = f"{new.runtime_dir}/{last_good.BLOB}: {error.strerror or error}"
            reason = f"{text}; a restart would forget this reload"
            await self._put(ev.Noticed("state_not_saved", new.node, reason))
        await self._put(ev.Configured(new, found))
        return tuple(map(str, loaded.problems)), None

    def _tell(self, kind: messages.RequestKind, subject: str) -> None:
        token = f"{kind.value}-{child.now():.6f}"
        self._child.send(messages.Process.SUPERVISOR, messages.Request(kind, token, subject))


def _unread(path: str, why: str) -> str:
    return f"{path}: not read: {why}"
