"""Verbs that change what a running node does: handover, release, standby."""

import argparse
import contextlib
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlencode

from hadirector.cli import outcome
from hadirector.cli.live import Unreachable, add_verb, ask

DEADLINE = 180.0  # seconds: with adverts of 40 s a successor may take 160
PATIENCE = 1.0  # seconds without an answer until it is told what is waited for

_HANDOVER = """\
The peer's director is asked first whether it is ready, by the keyed peer channel; then the peer
takes over at once and this node follows. Without key_file, or beside a foreign router, this node
gives up by priority 0 and forwards on until its successor is heard. Afterwards this node holds
back until `hadirector release`, also after a restart or a reboot; it replaces a peer that is gone.
Exit status: 0 handed over; 4 refused, and nothing was changed; 1 failed (nobody took over, and
this node is master again) or no daemon answers."""

_STANDBY = """\
on: hand over everything and stay out, also after a reboot, as long as another node is master or
alive on the peer channel and able to be. Only where nobody else is left does a node in standby
serve: it says so, and gives way to any other node that comes. To stay out strictly, stop the
daemon; it hands over as well. off: back on duty; mastership comes back as `preempt` says.
Exit status: 0 done; 4 refused, and nothing was changed; 1 failed."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these verbs."""
    text = "give mastership to the peer, and hold back until released"
    handover = add_verb(verbs, "handover", hand_over, text, _HANDOVER)
    _add_instance(handover, "all this node is master of")
    _add_why(handover)
    text = "stop holding back after a handover: preempt again as configured"
    _add_instance(add_verb(verbs, "release", release, text), "all that are held")
    standby = add_verb(
        verbs, "standby", stand_by, "begin or end maintenance of this node", _STANDBY
    )
    standby.add_argument("state", choices=("on", "off"))
    _add_why(standby)


def _add_instance(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"an instance or a sync group (default: {default})"
    parser.add_argument("instance", nargs="?", default="", metavar="INSTANCE", help=text)


def _add_why(parser: argparse.ArgumentParser) -> None:
    text = "do it although the peer is not ready, or not to be asked"
    parser.add_argument("--force", action="store_true", help=text)
    parser.add_argument("--reason", default="", metavar="TEXT", help="for status and journal")


def hand_over(options: argparse.Namespace) -> int:
    """Hand over, and say who took over and how fast."""
    return _post(options, "handover", instance=options.instance, **_why(options))


def release(options: argparse.Namespace) -> int:
    """End holds."""
    return _post(options, "release", instance=options.instance)


def stand_by(options: argparse.Namespace) -> int:
    """Begin or end standby."""
    return _post(options, "standby", on="1" if options.state == "on" else "0", **_why(options))


def _why(options: argparse.Namespace) -> dict[str, str]:
    return {"force": "1" if options.force else "0", "reason": options.reason}


def _post(options: argparse.Namespace, verb: str, **asked: str) -> int:
    query = urlencode({name: value for name, value in asked.items() if value})
    with _telling_what_it_waits_for(options):
        return outcome.post(options, f"/v1/{verb}?{query}", DEADLINE)


@contextlib.contextmanager
def _telling_what_it_waits_for(options: argparse.Namespace) -> Iterator[None]:
    """On stderr, beside an order that takes its time: each phase once."""
    done = threading.Event()

    def tell() -> None:
        told = ""
        while not done.wait(PATIENCE):
            with contextlib.suppress(Unreachable):
                waits = ask(options.socket, "GET", "/v1/status")[1].get("handover") or ""
                phase = waits.rpartition(" (")[0]
                if phase != told and not done.is_set():
                    print(f"waiting: {waits}", file=sys.stderr, flush=True)
                    told = phase

    if options.json:
        yield
        return
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join(PATIENCE)
