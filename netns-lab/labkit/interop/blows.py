"""What is done in a cell, and what is expected of it.

Each blow begins with lb1 (better) master and lb2 (worse) backup and is made of moves: mastership
goes from one to the other, or must not. The judge says what each move was worth.
"""

from collections.abc import Callable, Iterator

from labkit.interop.arena import BETTER, STARTING, WORSE, Arena, Side
from labkit.interop.judge import Expected, Kind
from labkit.interop.scene import Evidence

LOWERED, RAISED = 50, 200
PATIENCE = 3.0  # beyond what the formula says, before a scene is given up
RESTING = 0.3  # seconds until the last client has heard the announcements, besides adverts
RELOADING = 5.0  # seconds a reload may take
Move = tuple[Expected, Evidence]


def down(arena: Arena, priority: int) -> float:
    """How long a backup of this priority waits for a silent master, seconds (RFC 9568 6.1,
    RFC 3768 6.1)."""
    return 3 * arena.wire.advert_int + skew(arena, priority)


def skew(arena: Arena, priority: int) -> float:
    """How long it waits for one that has given up."""
    share = (256 - priority) / 256
    return share if arena.wire.version == 2 else share * arena.wire.advert_int


def priority(arena: Arena) -> Iterator[Move]:
    """The master's is lowered and raised again, then the backup's raised and lowered again."""
    arena.settle()
    better, worse = arena.better, arena.worse
    yield _reload(arena, Kind.LOWERED, better, LOWERED, loser=better)
    yield _reload(arena, Kind.RAISED, better, BETTER, loser=worse)
    yield _reload(arena, Kind.RAISED, worse, RAISED, loser=better)
    yield _reload(arena, Kind.LOWERED, worse, WORSE, loser=worse)


def kill(arena: Arena) -> Iterator[Move]:
    """kill -9 of the master; its kernel keeps the addresses."""
    arena.settle()
    better, worse = arena.better, arena.worse
    yield _move(arena, Kind.KILLED, better, worse, lambda: arena.kill(better), down(arena, WORSE))


def stop(arena: Arena) -> Iterator[Move]:
    """The master is told to stop and says goodbye."""
    arena.settle()
    better, worse = arena.better, arena.worse
    yield _move(arena, Kind.STOPPED, better, worse, lambda: arena.stop(better), skew(arena, WORSE))
    status = better.director.wait_gone()
    if status:
        raise RuntimeError(f"{better.name}, {better.product}, left with status {status}")


def preempt(arena: Arena) -> Iterator[Move]:
    """The better one is away and returns: first it may not preempt and stays backup, then it may
    and takes over."""
    better, worse = arena.better, arena.worse
    if better.director.alive() or not worse.director.alive():
        arena.settle()
        arena.kill(better)
        arena.wait(lambda: arena.holds_all(worse), "successor", down(arena, WORSE) + PATIENCE)
    arena.tell(better, preempt=False)
    yield _stay_away(arena, better, worse)
    better.director.stop()
    arena.tell(better, preempt=True)
    wait = down(arena, BETTER)
    yield _move(arena, Kind.RETURNED, worse, better, lambda: arena.start(better), wait, STARTING)


BLOWS: dict[str, Callable[[Arena], Iterator[Move]]] = {
    "priority": priority,
    "kill": kill,
    "preempt": preempt,
    "stop": stop,
}


def _reload(arena: Arena, kind: Kind, side: Side, value: int, loser: Side) -> Move:
    """A new priority by reload, on which `loser` loses mastership."""
    winner = arena.worse if loser is arena.better else arena.better
    waits = value if winner is side else winner.terms.priority
    return _move(
        arena,
        kind,
        loser,
        winner,
        lambda: arena.reload(side, priority=value),
        down(arena, waits),
        RELOADING,
    )


def _move(
    arena: Arena,
    kind: Kind,
    old: Side,
    new: Side,
    strike: Callable[[], object],
    wait: float,
    before: float = 0.0,
) -> Move:
    """Mastership goes from `old` to `new`. `wait`: by the formula, once the new one knows;
    `before`: seconds that may pass until it can know."""
    evidence = arena.scene(
        strike,
        lambda: arena.is_master(new, old),
        within=wait + before + PATIENCE,
        rest=RESTING + 2.5 * arena.wire.advert_int,
    )
    keeps = old.product == "hadirector"  # until it hears its successor
    priority = new.terms.priority
    return Expected(kind, old.name, new.name, wait, before, priority, keeps), evidence


def _stay_away(arena: Arena, better: Side, worse: Side) -> Move:
    """`better` comes back and has to obey `worse`, for two and a half of its own timers."""
    wait = down(arena, BETTER)
    evidence = arena.scene(
        lambda: arena.start(better),
        lambda: arena.follows(better, worse),
        within=STARTING,
        rest=2.5 * wait,
    )
    stays = Expected(Kind.HELD_BACK, worse.name, worse.name, wait, STARTING, worse.terms.priority)
    return stays, evidence
