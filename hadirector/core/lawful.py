"""Which message each process may send to which: who says what is not his to say is not heard.

A process that was taken over (the checker is the one that strangers talk to) has channels to its
neighbours. It may lie in its own words; it must not be able to order anybody.
"""

from collections.abc import Mapping
from typing import assert_never

from hadirector.core import messages, record_watch, runner_messages, syncer_messages
from hadirector.core.messages import OrderKind, Process, RequestKind

_LEVELS: Mapping[tuple[Process, Process], frozenset[type[messages.Message]]] = {
    (Process.DIRECTOR, Process.CHECKER): frozenset(
        {messages.Targets, messages.Executed, messages.Reports, messages.Lend}
    ),
    (Process.CHECKER, Process.DIRECTOR): frozenset(
        {messages.Verdicts, messages.Blind, messages.Execute}
    ),
    (Process.DIRECTOR, Process.ELECTION): frozenset(
        {
            *(messages.ElectionSettings, messages.Tracks, messages.Ready, messages.Peers),
            messages.Stance,
        }
    ),
    (Process.ELECTION, Process.DIRECTOR): frozenset(
        {messages.Routers, messages.Events, messages.Obeyed}
    ),
    (Process.SUPERVISOR, Process.DIRECTOR): frozenset({messages.Processes}),
    (Process.DIRECTOR, Process.RUNNER): frozenset({messages.Run, runner_messages.Watch}),
    (Process.RUNNER, Process.DIRECTOR): frozenset(
        {runner_messages.Ran, runner_messages.FilesSeen, runner_messages.ProcessesSeen}
    ),
    (Process.DIRECTOR, Process.SYNCER): frozenset(
        {
            *(syncer_messages.SyncSettings, syncer_messages.SyncRoles, syncer_messages.Resync),
            record_watch.WatchRecords,
        }
    ),
    (Process.SYNCER, Process.DIRECTOR): frozenset(
        {syncer_messages.Synced, syncer_messages.SyncNews, record_watch.SeenRecords}
    ),
}
"""Beside these: Hello and Heartbeat to everybody, and what `_order` and `_request` let pass."""

_OWN = frozenset({OrderKind.STOP, OrderKind.RELOAD})  # the supervisor's; the others are handovers


def lawful(sender: Process, receiver: Process, message: messages.Message) -> bool:
    """Whether this message is the sender's to send."""
    match message:
        case messages.Hello() | messages.Heartbeat():
            return True
        case messages.Order(kind=kind):
            return _order(sender, receiver, kind)
        case messages.Request():
            return receiver is Process.SUPERVISOR and _request(sender, message)
        case _:
            return type(message) in _LEVELS.get((sender, receiver), ())


def _order(sender: Process, receiver: Process, kind: OrderKind) -> bool:
    """Leaving and reading again is the supervisor's to order, mastership the director's; so is the
    leaving of the runner, its own child."""
    if (sender, receiver) == (Process.DIRECTOR, Process.RUNNER):
        return kind is OrderKind.STOP
    if kind in _OWN:
        return sender is Process.SUPERVISOR
    return (sender, receiver) == (Process.DIRECTOR, Process.ELECTION)


def _request(sender: Process, request: messages.Request) -> bool:
    """Only the director asks, and for no other process's restart than its own."""
    match request.kind:
        case RequestKind.RESTART:
            return sender is Process.DIRECTOR and request.subject == sender.value
        case RequestKind.RELOADING | RequestKind.RELOADED:
            return sender is Process.DIRECTOR
        case unreachable:
            assert_never(unreachable)
