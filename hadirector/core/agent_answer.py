"""The text protocol of HAProxy's agent-check: one line of words from an agent on a real server.

    up 75% ready #fine            words in any order, apart by spaces, tabs or commas, any case

    NN%                  the share of its weight that the server can take; more than 100 is 100
    up                   it serves                       } what it said of this kind last holds
    down fail stopped    it does not                     } until it says otherwise
    ready                no wish any more                }
    drain                no new connections, please      } the same
    maint                out, whatever its health        }
    maxconn:N            passed over: IPVS has thresholds of its own (upper_threshold)
    #...                 the rest of the line is for people

The line ends at the first CR, LF or NUL, or where the agent closes. A line without a single word
that is known is a failure: something else listens there. Source: HAProxy's configuration manual,
"agent-check".
"""

from dataclasses import dataclass

from hadirector.core.checker_messages import Wish

LINE = 1024  # bytes; more is no answer of an agent

_END = b"\r\n\0"
_APART = str.maketrans("\t,", "  ")
_DIGITS = frozenset("0123456789")
_MAXCONN = "maxconn:"
_STATES = {"up": True, "down": False, "fail": False, "stopped": False}
_WISHES = {"ready": Wish.NONE, "drain": Wish.DRAIN, "maint": Wish.MAINT}
_REMARK = 100  # characters of it told


class NoAnswerError(ValueError):
    """Not a line of an agent; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent said; None where it said nothing. `text` is the line as an operator may read
    it, `strange` the words that nobody knows."""

    up: bool | None
    share: float | None
    wish: Wish | None
    text: str
    strange: tuple[str, ...] = ()


def complete(raw: bytes | bytearray) -> bool:
    """Whether the line has ended in what came so far."""
    return len(raw) >= LINE or any(end in raw for end in _END)


def decode(raw: bytes | bytearray) -> Answer:
    """The first line of what came; NoAnswerError."""
    line = bytes(raw[: LINE + 1])
    for end in _END:
        line = line.partition(bytes((end,)))[0]
    if len(line) >= LINE:
        raise NoAnswerError(f"no agent's answer: a line of {LINE} bytes or more")
    text = "".join(
        c if c.isprintable() else "?" for c in line.decode("latin-1").replace("\t", " ").strip()
    )
    words, _, remark = text.partition("#")
    up: bool | None = None
    share: float | None = None
    wish: Wish | None = None
    strange: list[str] = []
    known = 0
    for word in words.lower().translate(_APART).split():
        known += 1
        if word in _STATES:
            up = _STATES[word]
        elif word in _WISHES:
            wish = _WISHES[word]
        elif word.endswith("%") and _is_number(word[:-1]):
            share = min(100, int(word[:-1])) / 100
        elif not (word.startswith(_MAXCONN) and _is_number(word.removeprefix(_MAXCONN))):
            known -= 1
            strange.append(word[:20])
    if not known:
        said = f"it said {words.strip()[:40]!r}" if words.strip() else "it said nothing"
        raise NoAnswerError(f"no agent's answer: {said}")
    told = words.strip() + (f" ({remark.strip()[:_REMARK]})" if remark.strip() else "")
    return Answer(up, share, wish, told[: 2 * _REMARK], tuple(strange[:4]))


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 10 and _DIGITS.issuperset(text)
