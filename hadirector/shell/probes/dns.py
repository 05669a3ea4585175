"""Check type dns: one question, by UDP or TCP, and whether the answer is the wanted one."""

import os

from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.core.settings.questions import Dns
from hadirector.shell.probes import base, dns_message

SHOWN = 3  # answers in a verdict


def by_udp(target: Target) -> base.Exchange:
    """The exchange of one probe."""
    return Datagram(_asked(target))


def by_tcp(target: Target) -> base.Conversation:
    """The conversation of one probe."""
    return Talk(_asked(target))


def _asked(target: Target) -> Dns:
    assert target.check.dns is not None, "such a check has it from the configuration"
    return target.check.dns


class Datagram:
    """A question in a datagram. Answers to others, forged ones too, are passed over."""

    __slots__ = ("_dns", "_identity")

    def __init__(self, dns: Dns) -> None:
        self._dns = dns
        self._identity = int.from_bytes(os.urandom(2))

    def question(self) -> bytes:
        return dns_message.question(self._identity, self._dns.name, self._dns.record)

    def received(self, data: bytes) -> Outcome | None:
        return judge(self._dns, data, self._identity)

    def silent(self, within: str) -> Outcome:
        return Outcome(Cause.SILENT, f"no answer within {within}")


class Talk:
    """The same over TCP: each message has its length in two bytes before it (RFC 1035 4.2.2)."""

    __slots__ = ("_datagram", "_held")

    def __init__(self, dns: Dns) -> None:
        self._datagram = Datagram(dns)
        self._held = bytearray()

    def opened(self) -> base.Reply:
        question = self._datagram.question()
        return len(question).to_bytes(2) + question

    def received(self, data: bytes) -> base.Reply:
        self._held += data
        if len(self._held) < 2:
            return None
        size = int.from_bytes(self._held[:2])
        if len(self._held) < 2 + size:
            return None
        outcome = self._datagram.received(bytes(self._held[2 : 2 + size]))
        return outcome or base.answered("answers another question than was asked")

    def closed(self) -> Outcome:
        return base.answered("closed without an answer")

    def missing(self) -> str:
        return "the answer"


def judge(dns: Dns, raw: bytes, identity: int) -> Outcome | None:
    """The verdict on a message; None: it is not for this question."""
    try:
        answer = dns_message.answer(raw, identity, dns.name, dns.record)
    except ValueError as error:
        return base.answered(f"not a DNS answer: {error}")
    if answer is None:
        return None
    if answer.rcode != dns.rcode:
        return base.answered(f"{answer.rcode}, expected {dns.rcode}")
    missing = [text for text in dns.expect if not _among(dns.record, text, answer.records)]
    lacks = missing or (dns.rcode == "NOERROR" and not answer.records)
    if lacks and answer.truncated:
        return base.answered("answer is cut off: ask by TCP, 'protocol: tcp'")
    if missing:
        return base.answered(f"{missing[0]} is not in the answer: {_listed(answer.records)}")
    if lacks:
        return base.answered(f"{dns.rcode}, but no record {dns.record} of {dns.name}")
    return base.good(f"{answer.rcode}, {_listed(answer.records)}")


def _among(record: str, wanted: str, found: tuple[str, ...]) -> bool:
    """Texts keep their case; the configuration has lower case for all."""
    return wanted in (tuple(text.lower() for text in found) if record == "TXT" else found)


def _listed(records: tuple[str, ...]) -> str:
    if not records:
        return "no records"
    more = f" and {len(records) - SHOWN} more" if len(records) > SHOWN else ""
    shown = (ascii(text[:60])[1:-1] for text in records[:SHOWN])
    return ", ".join(shown) + more
