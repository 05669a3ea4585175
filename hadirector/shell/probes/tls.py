"""TLS around any conversation, and check type tls: the handshake alone.

The engine's socket stays raw: OpenSSL works on two buffers in memory, so a conversation over TLS
is a conversation like any other, and asyncio's 256 KiB per TLS connection are not spent.

    opened -> handshake -> inner.opened -> data <-> inner -> verdict, close_notify

What a server can make us work is bounded: bytes of handshake, bytes without data behind them, no
renegotiation, and no finite-field Diffie-Hellman, whose cost the server would choose (an 8192-bit
group takes 50 ms, and nothing else turns meanwhile).
"""

import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.core.settings.questions import Tls
from hadirector.shell.probes import base, certificate
from hadirector.shell.probes.tls_contexts import Contexts

HANDSHAKE_BOUND = 32 << 10  # bytes of it: a chain of three RSA-4096 certificates is 6 KiB
EMPTY_BOUND = 64 << 10  # bytes of records with no data in them, such as key updates
RECORD = 16 << 10  # bytes of one, decrypted
DAY = 86400

_TIMES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
)

Make = Callable[[Target, "Wrap"], base.Conversation | Outcome]
"""Makes a conversation that is given the means to go on inside TLS."""


class Wrap:
    """Puts TLS around conversations with one server. `again` makes the whole talk anew, to say
    what is wrong with the times of a certificate; None: this is that talk."""

    def __init__(
        self,
        context: ssl.SSLContext,
        tls: Tls,
        server: str,
        again: Callable[[], base.Conversation | Outcome] | None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.context = context
        self.tls = tls
        self.name = tls.name or server
        self.again = again
        self.now = wall_clock

    def __call__(self, inner: base.Conversation) -> base.Conversation:
        """The same conversation, inside TLS."""
        return Secured(inner, self)


def starter(
    make: Make, contexts: Contexts, wall_clock: Callable[[], float] = time.time
) -> Callable[[Target], base.Conversation | Outcome]:
    """Begins conversations that may use TLS, where the check asks for it."""

    def begin(target: Target) -> base.Conversation | Outcome:
        tls = target.check.tls
        assert tls is not None, "such a check has it from the configuration"
        context = contexts.known(tls)
        if isinstance(context, Outcome):
            return context
        server = target.at.address
        bare = contexts.bare(tls)

        def again() -> base.Conversation | Outcome:
            return make(target, Wrap(bare, tls, server, None, wall_clock))

        return make(target, Wrap(context, tls, server, again, wall_clock))

    return begin


def handshake(target: Target, wrap: Wrap) -> base.Conversation:
    """Check type tls."""
    return wrap(_Nothing())


class _Nothing:
    """A talk that is over once the handshake is."""

    __slots__ = ()

    def opened(self) -> base.Reply:
        return base.good("handshake complete")

    def received(self, data: bytes) -> base.Reply:
        return None

    def closed(self) -> Outcome:
        return base.answered("closed")

    def missing(self) -> str:
        return ""


class Secured:
    """One conversation inside TLS."""

    __slots__ = ("_arrived", "_in", "_inner", "_open", "_out", "_ssl", "_warning", "_wrap")

    def __init__(self, inner: base.Conversation, wrap: Wrap) -> None:
        self._inner = inner
        self._wrap = wrap
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl: ssl.SSLObject | None = None
        self._open = False  # whether the handshake is done
        self._arrived = 0  # bytes of handshake, then bytes since the last data
        self._warning = ""

    def opened(self) -> base.Reply:
        try:
            self._ssl = self._wrap.context.wrap_bio(
                self._in, self._out, server_hostname=self._wrap.name
            )
        except (ssl.SSLError, ValueError) as error:
            return Outcome(Cause.OURS, f"TLS cannot begin: {error}")
        return self._shake()

    def received(self, data: bytes) -> base.Reply:
        self._arrived += len(data)
        self._in.write(data)
        if not self._open:
            if self._arrived > HANDSHAKE_BOUND:
                return base.answered(f"TLS handshake over {HANDSHAKE_BOUND >> 10} KiB")
            return self._shake()
        return self._read()

    def closed(self) -> Outcome:
        return (
            self._told(self._inner.closed())
            if self._open
            else base.answered("closed in the TLS handshake")
        )

    def missing(self) -> str:
        return self._inner.missing() if self._open else "the end of the TLS handshake"

    def _shake(self) -> base.Reply:
        assert self._ssl is not None
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return self._out.read() or None
        except ssl.SSLCertVerificationError as error:
            return self._refused(error)
        except (ssl.SSLError, ValueError) as error:
            return base.Parting(base.answered(_failed(error)), self._out.read())
        self._open, self._arrived = True, 0
        return self._shaken(self._ssl)

    def _shaken(self, secure: ssl.SSLObject) -> base.Reply:
        wrap = self._wrap
        der = secure.getpeercert(binary_form=True)
        if wrap.again is None:
            return self._over(base.answered(_times(der, wrap.now())))
        if wrap.tls.must_choose and secure.selected_alpn_protocol() is None:
            wanted = ", ".join(wrap.tls.alpn)
            return self._over(base.answered(f"TLS: the server speaks none of {wanted} (ALPN)"))
        self._warning = _ends_soon(der, wrap.now(), wrap.tls.warn_days)
        reply = self._say(self._inner.opened())
        return reply if isinstance(reply, Outcome | base.Parting) else self._read(reply)

    def _read(self, first: base.Reply = None) -> base.Reply:
        """Decrypt what has come, and let the conversation go on."""
        assert self._ssl is not None
        while True:
            try:
                data = self._ssl.read(RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except (ssl.SSLError, ValueError) as error:
                return base.answered(_failed(error))
            if not data:
                return self._over(self._inner.closed())
            self._arrived = 0
            reply = self._say(self._inner.received(data))
            if isinstance(reply, Outcome | base.Parting | base.Again):
                return reply
        if self._arrived > EMPTY_BOUND:
            return base.answered(f"TLS: {EMPTY_BOUND >> 10} KiB with no data in them")
        return (first if isinstance(first, bytes) else b"") + self._out.read() or None

    def _say(self, reply: base.Reply) -> base.Reply:
        """What the inner conversation wants, in what stands before encryption."""
        match reply:
            case bytes():
                self._write(reply)
                return None
            case Outcome():
                return self._over(reply)
            case base.Parting(outcome, last):
                self._write(last)
                return self._over(outcome)
            case _:
                return reply

    def _write(self, data: bytes) -> None:
        assert self._ssl is not None
        if data:
            self._ssl.write(data)

    def _over(self, outcome: Outcome) -> base.Parting:
        """The verdict, with the close_notify that spares the server a line in its log."""
        assert self._ssl is not None
        # It wants the other's close_notify, for which nobody waits.
        with suppress(ssl.SSLError, ValueError):
            self._ssl.unwrap()
        return base.Parting(self._told(outcome), self._out.read())

    def _told(self, outcome: Outcome) -> Outcome:
        if outcome.cause is not Cause.GOOD or not self._warning:
            return outcome
        return Outcome(Cause.GOOD, f"{outcome.detail}; {self._warning}", self._warning)

    def _refused(self, error: ssl.SSLCertVerificationError) -> base.Reply:
        text = error.verify_message.rstrip(".")
        outcome = base.answered(f"certificate refused: {text[:1].lower()}{text[1:]}")
        if error.verify_code in _TIMES and self._wrap.again is not None:
            talk = self._wrap.again()
            return outcome if isinstance(talk, Outcome) else base.Again(outcome, talk)
        return base.Parting(outcome, self._out.read())


def _failed(error: Exception) -> str:
    reason = getattr(error, "reason", None) or str(error)
    if reason in _NO_TLS:
        return "what it answers is not TLS"
    words = str(reason).replace("_", " ").lower()
    return f"TLS failed: {words}"


def _times(der: bytes | None, now: float) -> str:
    """What is wrong with a certificate that OpenSSL found expired, or not valid yet."""
    try:
        before, after = certificate.validity(der or b"")
    except ValueError as error:
        return f"certificate refused: {error}"
    if now > after:
        return f"certificate expired {_days(now - after)} ago"
    if now < before:
        return f"certificate is not valid yet: it will be in {_days(before - now)}"
    return "certificate refused: one of those above it in its chain has expired"


def _ends_soon(der: bytes | None, now: float, warn_days: int) -> str:
    try:
        _, after = certificate.validity(der or b"")
    except ValueError:
        return ""
    if now > after:
        return f"certificate expired {_days(now - after)} ago"
    return f"certificate expires in {_days(after - now)}" if after - now < warn_days * DAY else ""


def _days(seconds: float) -> str:
    if seconds < DAY:
        return "less than a day"
    days = int(seconds // DAY)
    return "1 day" if days == 1 else f"{days} days"
