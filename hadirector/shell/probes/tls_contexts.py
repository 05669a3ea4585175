"""The TLS contexts of checks: whom to believe, and what to speak.

Making one reads the host's authorities from the disk and parses them, some 10 ms: done in a
thread, once for each way that checks ask for, while the first probes wait.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.core.settings.questions import Tls
from hadirector.shell.probes import base

KEPT = 64  # contexts; more ways to ask are made anew each time
PATIENCE = 5.0  # seconds: the file system of the authorities may hang
RETRY = 30.0  # seconds until what could not be made is tried again

# Python's choice less DHE, whose cost the server chooses (tls.py).
_VERIFIED = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
# Where nobody asks who it is, old servers and small keys are welcome.
_UNVERIFIED = "ECDH:kRSA:!aNULL:!eNULL:@SECLEVEL=0"

Key = tuple[bool, str | None, bytes, tuple[str, ...]]


class Contexts:
    """`files` are the contents of the files that checks name, kept up to date by its owner."""

    def __init__(self, files: Mapping[str, FileText]) -> None:
        self._files = files
        self._made: OrderedDict[Key, ssl.SSLContext | Outcome] = OrderedDict()
        self._making: dict[Key, asyncio.Future[None]] = {}

    def known(self, tls: Tls) -> ssl.SSLContext | Outcome:
        """The context, or why there is none; after `waiting` said that nothing is to be awaited."""
        lack = self._lack(tls)
        if lack is not None:
            return lack
        return self._made.get(self._key(tls)) or Outcome(
            Cause.OURS, "the authorities of this host are not read yet"
        )

    def bare(self, tls: Tls) -> ssl.SSLContext:
        """The same, believing anybody: to look at a certificate that was refused."""
        key = (False, None, b"", tls.alpn)
        made = self._made.get(key)
        if not isinstance(made, ssl.SSLContext):
            made = _make(key)  # reads no file
            self._keep(key, made)
        return made

    def waiting(self, tls: Tls) -> asyncio.Future[None] | None:
        """What to wait for before `known` knows; None: it does."""
        key = self._key(tls)
        if key in self._made or self._lack(tls) is not None:
            return None
        if key not in self._making:
            self._making[key] = asyncio.ensure_future(self._load(key))
        return self._making[key]

    async def _load(self, key: Key) -> None:
        made: ssl.SSLContext | Outcome
        try:
            async with asyncio.timeout(PATIENCE):
                made = await asyncio.to_thread(_make, key)
        except TimeoutError:
            made = Outcome(Cause.OURS, f"the authorities were not read within {PATIENCE:g} s")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            place = key[1] or "the authorities of this host"
            made = Outcome(Cause.OURS, f"{place}: no certificates to trust: {_words(error)}")
        finally:
            del self._making[key]
        self._keep(key, made)
        if isinstance(made, Outcome):
            asyncio.get_running_loop().call_later(RETRY, self._made.pop, key, None)

    def _keep(self, key: Key, made: ssl.SSLContext | Outcome) -> None:
        self._made[key] = made
        if len(self._made) > KEPT:
            self._made.popitem(last=False)

    def _lack(self, tls: Tls) -> Outcome | None:
        if tls.ca_file is None or tls.ca_file in self._files:
            return None
        return lacking(tls.ca_file)

    def _key(self, tls: Tls) -> Key:
        file = self._files.get(tls.ca_file or "")
        return (tls.verify, tls.ca_file, file.raw if file else b"", tls.alpn)


class Prepared:
    """Starts the probes of an engine as soon as their context is there."""

    def __init__(self, engine: base.Engine, contexts: Contexts) -> None:
        self._engine = engine
        self._contexts = contexts

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        tls = target.check.tls
        wait = self._contexts.waiting(tls) if tls is not None else None
        if wait is None:
            return self._engine.start(target, done)
        return _Waiting(wait, partial(self._engine.start, target, done))


class _Waiting:
    """A probe that has not begun yet."""

    __slots__ = ("_running", "_start")

    def __init__(self, wait: asyncio.Future[None], start: Callable[[], base.Running]) -> None:
        self._start: Callable[[], base.Running] | None = start
        self._running: base.Running | None = None
        wait.add_done_callback(self._ready)

    def cancel(self) -> None:
        self._start = None
        if self._running is not None:
            self._running.cancel()

    def _ready(self, _: asyncio.Future[None]) -> None:
        if self._start is not None:
            self._running = self._start()


def lacking(path: str) -> Outcome:
    """A file whose contents did not come with the targets."""
    return Outcome(Cause.OURS, f"{path} was not read: mend that, then 'hadirector reload'")


def _make(key: Key) -> ssl.SSLContext:
    verify, ca_file, authorities, alpn = key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.set_ciphers(_VERIFIED if verify else _UNVERIFIED)
    if not verify:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    elif ca_file is not None:
        context.load_verify_locations(cadata=authorities.decode("ascii", "replace"))
    else:
        context.load_default_certs()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) else str(error)
