"""A node: its host, the processes on it, and the supervisor that starts them again."""

from collections.abc import Callable
from math import inf

from hadirector.core import director_events as ev
from hadirector.core import election_types as et
from hadirector.core import messages
from hadirector.core.requests import Outcome, Request
from tests.sim.director_process import DirectorProcess
from tests.sim.election_process import ElectionProcess, Observer
from tests.sim.host import Host
from tests.sim.peer_channel import Word


class Node:
    """`on`: it has power. `asleep`: suspended or paused. `supervised`: processes that die are
    started again. Instants are virtual time."""

    def __init__(
        self,
        host: Host,
        observe: Observer,
        emit: Callable[["Node", et.Action], None],
        tell: Callable[["Node", str, Word], None],
        journal: Callable[["Node", messages.Event], None],
    ) -> None:
        self.host = host
        self.on = True
        self.asleep = False
        self.supervised = False
        self.election: ElectionProcess | None = None
        self.director: DirectorProcess | None = None
        self._observe = observe
        self._emit = emit
        self._tell = tell
        self._journal = journal
        self._tokens = 0
        self._asked: dict[str, Callable[[Outcome], None]] = {}

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def answers(self) -> bool:
        """Whether its kernel answers on the network."""
        return self.on and not self.asleep

    @property
    def elects(self) -> ElectionProcess | None:
        """Its election process, if it turns."""
        runs = self.answers and self.election is not None and self.election.loop.runs
        return self.election if runs else None

    def holds(self, address: str) -> bool:
        """Whether it answers for an address."""
        return self.answers and any(a == address for a, _ in self.host.kernel.addresses)

    def hears(self, interface: str) -> bool:
        """Whether packets come in by an interface."""
        return self.answers and interface not in self.host.down

    def at_rest(self) -> bool:
        """Whether everything runs, knows of its peers, is ready and has nothing left to read."""
        election, director, host = self.elects, self.director, self.host
        if election is None or director is None or not director.loop.runs or host.down:
            return False
        if not (host.to_election.at_rest and host.to_director.at_rest):
            return False
        known = director.core.peers.known.values() if director.core.peers else ()
        return (
            director.core.readiness().ready
            and all(peer.alive for peer in known)
            and election.at_rest()
        )

    # --- starting ----------------------------------------------------------------------------

    def start(self) -> None:
        """The supervisor starts everything."""
        self.supervised = True
        self.start_election()
        self.start_director()

    def start_election(self) -> None:
        """Unless one lives."""
        if not self.supervised or (self.election is not None and self.election.loop.alive):
            return
        self.election = ElectionProcess(
            self.host, self._observe, lambda action: self._emit(self, action)
        )
        self.host.to_director.send(messages.Hello(messages.Process.ELECTION, 1), inf)
        if self.asleep:
            self.hang_election(whole=True)

    def start_director(self) -> None:
        """Unless one lives."""
        if not self.supervised or (self.director is not None and self.director.loop.alive):
            return
        self.director = DirectorProcess(
            self.host,
            lambda to, word: self._tell(self, to, word),
            lambda event: self._journal(self, event),
            self._reply,
        )
        if self.asleep:
            self.hang_director()

    # --- dying -------------------------------------------------------------------------------

    def kill_election(self) -> None:
        """kill -9: addresses and note stay."""
        if self.election is not None:
            self.election.loop.kill()

    def kill_director(self) -> None:
        """kill -9, or leaving for a restart: IPVS stays as it is."""
        if self.director is not None:
            self.director.loop.kill()

    def kill_all(self) -> None:
        """kill -9 of everything, the supervisor too."""
        self.supervised = False
        self.kill_election()
        self.kill_director()
        self.host.forget()

    def power_off(self) -> None:
        """Nothing remains."""
        self.kill_all()
        self.on = self.asleep = False
        self.host.kernel.addresses.clear()
        self.host.boot()

    def stop(self) -> None:
        """`systemctl stop`: the election leaves in order, then everything ends."""
        self.supervised = False
        self.host.stop_order.send(messages.Order(messages.OrderKind.STOP, self._token()), inf)

    def ask(self, request: Request, answered: Callable[[Outcome], None] = lambda _: None) -> None:
        """An operator's request; who asks a director that does not run asks nobody."""
        if self.director is not None and self.answers:
            token = self._token()
            self._asked[token] = answered
            self.director.put(ev.Asked(token, request))

    def _reply(self, reply: ev.Reply) -> None:
        self._asked.pop(reply.token)(reply.outcome)

    def _token(self) -> str:
        self._tokens += 1
        return f"{self.name}-{self._tokens}"

    # --- standing still ----------------------------------------------------------------------

    def hang_election(self, whole: bool) -> None:
        """Its loop stands still; `whole`: so does its lease thread (SIGSTOP)."""
        if self.election is not None and self.election.loop.alive:
            self.election.halted = whole
            self.election.loop.block()

    def resume_election(self) -> None:
        """Go on."""
        if self.election is not None and not self.asleep:
            self.election.halted = False
            self.election.loop.resume()

    def hang_director(self) -> None:
        """Its loop stands still."""
        if self.director is not None:
            self.director.loop.block()

    def resume_director(self) -> None:
        """Go on."""
        if self.director is not None and not self.asleep:
            self.director.loop.resume()

    def sleep(self, duration: float) -> None:
        """Suspend or pause: the kernel's ticks stand still as well."""
        self.asleep = True
        self.host.kernel.sleep(duration)
        self.hang_election(whole=True)
        self.hang_director()

    def wake(self) -> None:
        """End of the sleep."""
        self.asleep = False
        self.resume_election()
        self.resume_director()
