"""Planted faults: does the simulator notice? `python -m tests.sim.mutants [NAME ...]`

Each mutant changes a few words of the core's source as it is imported, in a process of its own;
the tree is never touched. One whose words are not found any more is an error, not a survivor.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType

SEEDS = 120  # tried before a mutant counts as not caught
EPISODES = 8
CHEAP = 0.1  # seconds: seeds with faster adverts are left out, ten of the others cost the same
PATIENCE = 600.0  # seconds for one mutant
CORE = "hadirector.core."


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` becomes `new` in `module` of the core. `seed`: one known to catch it, for pytest."""

    name: str
    module: str
    old: str
    new: str
    seed: int | None = None


# Levels are told with each change and again and again: leaving out one way alone is no fault.
# ruff: noqa: E501  # a table: one mutant a line
MUTANTS = (
    Mutant("waits-too-long", "listening", "return 3 * interval +", "return 5 * interval +", 5),
    Mutant("waits-too-short", "listening", "return 3 * interval +", "return 0.2 * interval +"),
    Mutant("skew-upside-down", "listening", "(256 - priority) / 256", "priority / 256"),
    Mutant("priority-0-unheard", "listening", "min(state.master_down_at, now + skew)", "state.master_down_at"),
    Mutant("readiness-ignored", "listening", "if self.standing.ready or", "if True or"),
    Mutant("handover-not-held", "listening", "if self.standing.held and priority > LAST_RESORT:", "if False:"),
    Mutant("hold-never-ends", "listening", "priority > LAST_RESORT:", "True:"),
    Mutant("owner-forgets-hold", "virtual_router", "== OWNER and not self.standing.held", "== OWNER"),
    Mutant("standby-is-no-reason", "priority", "if standing.silent or standing.standby:", "if standing.silent:"),
    Mutant("standby-never-serves", "vrrp", "if self.standing.aside:\n", "if self.standing.standby:\n"),
    Mutant("standby-does-not-wait", "vrrp", "if self.standing.aside:\n", "if False:\n", 7),
    Mutant("stance-not-told", "operations", "self.stance.level(), LEVEL_HOLDS", "messages.Stance(), LEVEL_HOLDS", 7),
    Mutant("stance-not-saved", "operations", "return [self.level(), ev.SaveStance(stance)]", "return [self.level()]"),
    Mutant("takes-over-unasked", "handover", "return Prepare(self.token, self.names)", "return TakeOver(self.token, self.names)"),
    Mutant("successor-not-told", "handover", "now if self.commanded else inf)", "inf)"),
    Mutant("hold-ends-at-once", "operations", "if n not in busy and here.is_whole_master(n)]", "if n not in busy]"),
    Mutant("never-believed-again", "conversation", "if now < self._answered_at + ANSWER_EVERY:", "if True:"),
    Mutant("ties-never-end", "priority", "return address.packed(source) > address.packed(own_source)", "return False", 3),
    Mutant("silence-unheeded", "priority", "return LAST_RESORT", "return instance.priority"),
    Mutant("never-not-sticky", "priority", "return max(effective(instance, standing), STICKY)", "return 100"),
    Mutant("better-one-ignored", "mastership", "if self._loses(advert, source, now):", "if False:", 1),
    Mutant("yields-but-holds", "mastership", "return [Release(), *last_word", "return [*last_word", 1),
    Mutant("no-last-word", "mastership", "last_word = [Advertise(own)] if better else []", "last_word: list[Effect] = []", 9),
    Mutant("leaves-but-holds", "mastership", "return [Release(), self._moved(f\"{source} took over\"", "return [self._moved(f\"{source} took over\""),
    Mutant("drops-before-successor", "vrrp_states", "HOLDING = (Master, Waking, Leaving)", "HOLDING = (Master, Waking)", 0),
    Mutant("leaves-silently", "mastership", "return [Advertise(RESIGN), Tell(\"leaving\"", "return [Tell(\"leaving\""),
    Mutant("answers-without-end", "mastership", "if now < state.reassert_at:", "if False:"),
    Mutant("duel-not-announced", "mastership", "list[Effect] = [Proclaim(duel=True)]", "list[Effect] = []", 6),
    Mutant("takeover-not-announced", "mastership", "Proclaim(duel=False), moved]", "moved]"),
    Mutant("takeover-not-told", "mastership", "Proclaim(duel=False), moved]", "Proclaim(duel=False)]", 0),
    Mutant("sleep-unnoticed", "mastership", "if slept <= soonest_takeover(self.instance):", "if True:", 15),
    Mutant("adopts-anything", "vrrp", "and now - self._noted_at < patience:", "and True:"),
    Mutant("adopts-nothing", "vrrp", "and now - self._noted_at < patience:", "and False:", 8),
    Mutant("fault-ignored", "vrrp", "case _ if standing.faults:", "case _ if False:"),
    Mutant("advertises-seldom", "mastership", "next_at = due + interval if", "next_at = due + 4 * interval if"),
    Mutant("reload-resets", "vrrp", "return self._advertise(now) if isinstance(self.state, Master) else []", "return self.relegate(\"reloaded\", now)"),
    Mutant("group-ignored", "vrrp", "if self.standing.coupled:", "if False:"),
    Mutant("group-stays-behind", "ensemble", "other.router.relegate(reason, now), now)", "[], now)"),
    Mutant("own-adverts-heard", "election", "if self._view.is_own(packet.interface, packet.source):", "if False:", 2),
    Mutant("note-not-kept", "member", "now if stays else None", "None"),
    Mutant("lease-not-followed", "member", "or lifetime == self.lifetime:", "or True:"),
    Mutant("no-lease", "node_view", "or not self.accompanied:", "or True:", 0),
    Mutant("lease-alone", "node_view", "or not self.accompanied:", "or False:"),
    Mutant("lease-too-long", "node_view", "math.ceil(peers_patience(instance))", "9"),
    Mutant("peers-never-die", "peers", "messages.Peer(name, known.alive,", "messages.Peer(name, True,"),
    Mutant("never-ready", "director", "return messages.Ready(not waits,", "return messages.Ready(False,"),
    Mutant("duel-not-told", "duel", "return [Tell(\"duel\", reason", "return [] and [Tell(\"duel\", reason", 2),
    Mutant("duel-told-again", "duel", "if told or not tells:", "if not tells:"),
    Mutant("duel-never-over", "duel", "if now - rival.heard_at > rival.patience:", "if False:"),
    Mutant("duel-outlives-master", "virtual_router", "return [*self.duels.give_up(why, self.side, now)]", "return []"),
    Mutant("split-not-told", "split", "if not split.told and now >= split.since + split.grace:", "if False:", 7),
    Mutant("split-never-over", "split", "gone = [key for key in self._splits if key not in there]", "gone: list[Key] = []"),
    Mutant("claims-unheard", "node_view", "if voice is not None and voice.master", "if False and voice"),
    Mutant("loser-announces", "announce", "Contest.LOSES: 0.0,", "Contest.LOSES: 1.0,"),
    Mutant("winner-announces-not", "announce", "Contest.WINS: min(self.garp.refresh or math.inf, CONTESTED_REFRESH),", "Contest.WINS: 0.0,"),
    Mutant("deaf-one-rises", "vrrp", "if self.listens_in_vain and self.ears.is_deaf", "if False and self.ears.is_deaf", 60),
    Mutant("loud-in-the-dark", "hearing", "self.dark = not self.network and", "self.dark = False and", 17),
    Mutant("lit-at-once", "hearing", "min(self._lit_at, now + patience)", "now"),
    Mutant("always-dark", "hearing", "not self.dark or now < self._lit_at", "True", 44),
    Mutant("stranger-obeyed", "wire", "if not said.addresses or not set(said.addresses).isdisjoint(context.listed):", "if True:"),
    Mutant("settings-not-sent", "director", "return self._settings(now) if sender is Process.ELECTION", "return [] if sender is Process.ELECTION"),
)  # fmt: skip


class PlantedError(Exception):
    """A mutant whose words are not in the source, or are there more than once."""


class Planter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module of the core with other words in it."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != CORE + self._mutant.module:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def get_source(self, fullname: str) -> str:
        return planted(self._mutant, source_of(self._mutant.module))

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), fullname, "exec")


def source_of(module: str) -> str:
    """A module of the core as it is in the tree."""
    package = importlib.import_module(CORE.rstrip("."))
    found = PathFinder.find_spec(CORE + module, package.__path__)
    assert found is not None
    assert isinstance(found.loader, importlib.machinery.SourceFileLoader)
    source = found.loader.get_source(CORE + module)
    assert source is not None
    return source


def planted(mutant: Mutant, source: str) -> str:
    """The source with the mutant in it."""
    count = source.count(mutant.old)
    if count != 1:
        raise PlantedError(f"{mutant.name}: {mutant.old!r} is {count} times in {mutant.module}")
    return source.replace(mutant.old, mutant.new)


def hunt(mutant: Mutant, first: int, seeds: int) -> str:
    """`SEEDS SEED INVARIANT` in a process of its own: how many seeds it took, the last one, what
    broke; `0 - -` when none did."""
    command = [sys.executable, "-m", "tests.sim.mutants", "--inside", mutant.name]
    command += ["--seed", str(first), "--seeds", str(seeds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        raise PlantedError(done.stderr.strip() or f"{mutant.name}: status {done.returncode}")
    return done.stdout.strip()


def _inside(mutant: Mutant, first: int, seeds: int) -> str:
    sys.meta_path.insert(0, Planter(mutant))
    story = importlib.import_module("tests.sim.story")
    draw = importlib.import_module("tests.sim.scenario").draw
    faults = importlib.import_module("tests.sim.faults").FAULTS
    violation = importlib.import_module("tests.sim.invariants").Violation
    cheap = (s for s in itertools.count(first) if draw(s, tuple(faults)).advert_int >= CHEAP)
    for count, seed in enumerate(itertools.islice(cheap, seeds), start=1):
        try:
            story.Story(seed).run(EPISODES)
        except violation as found:
            return f"{count} {seed} {found}"
    return "0 - -"


def main(arguments: list[str]) -> int:
    """Exit status 1 when a mutant lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="all unless named")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds tried for each")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    every = {mutant.name: mutant for mutant in MUTANTS}
    if options.inside:
        sys.stdout.write(_inside(every[options.inside], options.seed, options.seeds) + "\n")
        return 0
    chosen = [every[name] for name in options.names or every]
    for mutant in chosen:  # a stale one is known at once, not after ten minutes
        planted(mutant, source_of(mutant.module))
    survivors = 0
    sys.stdout.write(f"{'mutant':24} {'module':10} {'seeds':>5} {'seed':>5}  invariant\n")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda one: hunt(one, options.seed, options.seeds), chosen)
        for mutant, result in zip(chosen, results, strict=True):
            count, seed, invariant = result.split(" ", 2)
            survivors += count == "0"
            caught = count if count != "0" else "LIVES"
            line = f"{mutant.name:24} {mutant.module:10} {caught:>5} {seed:>5}  {invariant[:90]}\n"
            sys.stdout.write(line)
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survivors} of {len(chosen)} caught\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
