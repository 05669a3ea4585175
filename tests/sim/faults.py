"""What may happen to a cluster, one function per kind.

A fault begins when its function is called and ends by itself within `duration` seconds; what it
did to the world at large (cuts, weather) ends with the episode's healing as well. Each draws what
it does from the episode's own random numbers.
"""

from collections.abc import Sequence

from hadirector.core import advert
from hadirector.core import election_types as et
from hadirector.core.address import Address
from hadirector.core.advert import Advert
from hadirector.core.settings.instances import Checksum
from tests.sim.host import INTERFACES
from tests.sim.network import FAIR, PLANES, VRRP, Weather
from tests.sim.node import Node
from tests.sim.operators import handover, reload_addresses, reload_priority, standby, track
from tests.sim.scene import Fault, Scene

STARTS_IN = (0.05, 0.6)  # seconds from the start of a process to its first turn
SILENCE = 10.0  # seconds after which the supervisor kills a process that hangs
# Seconds at most until a switch forwards for a node that was powered on: a port on the edge, or one
# that takes part in the spanning tree.
PORT_OPENS_IN = (2.0, 2.0, 2.0, 35.0)
INTRUDER = Address("198.51.100.77")

# --- the network -----------------------------------------------------------------------------


def weather(scene: Scene, duration: float) -> None:
    """Loss, lateness (and so reordering), duplicates, echoes: some of them on some planes."""
    rng = scene.rng
    interval = scene.world.scenario.advert_int
    bad = Weather(
        loss=rng.choice((0.0, 0.1, 0.5, 0.9)),
        duplicate=rng.choice((0.0, 0.0, 0.3, 0.95)),
        late=rng.choice((0.0, 0.2, 0.9)),
        late_by=rng.choice((0.5, 2.0, 5.0)) * interval,
        echo=rng.choice((0.0, 0.0, 1.0)),
    )
    make_weather(scene, bad, rng.sample(PLANES, rng.randint(1, len(PLANES))), duration)


def make_weather(scene: Scene, bad: Weather, planes: Sequence[str], duration: float) -> None:
    """This weather for a while, then fair weather."""
    scene.note(None, f"{bad} on {planes}")
    network = scene.world.network
    network.weather.update(dict.fromkeys(planes, bad))
    scene.after(duration, lambda: network.weather.update(dict.fromkeys(planes, FAIR)))


def one_way(scene: Scene, duration: float) -> None:
    """One node no longer hears another, which still hears it."""
    one, other = scene.pair
    planes = scene.rng.sample(PLANES, scene.rng.randint(1, len(PLANES)))
    cut(scene, duration, [(plane, one.name, other.name) for plane in planes])


def split(scene: Scene, duration: float) -> None:
    """Two nodes hear nothing of each other: on every plane, on some, or on the peer channel."""
    one, other = scene.pair
    planes = scene.rng.choice((PLANES, ("eth0", "eth1"), ("eth0",), ("eth1",), ("peer",)))
    both = ((one.name, other.name), (other.name, one.name))
    cut(scene, duration, [(plane, *way) for plane in planes for way in both])


def filtered(scene: Scene, duration: float) -> None:
    """A firewall drops protocol 112, one way or both, on one segment; all else passes."""
    one, other = scene.pair
    ways = [(one.name, other.name), (other.name, one.name)][: scene.rng.randint(1, 2)]
    plane = VRRP[scene.rng.choice(INTERFACES)]
    cut(scene, duration, [(plane, *way) for way in ways])


def stranger(scene: Scene, duration: float) -> None:
    """Somebody else on the segment sends adverts with our virtual router ID."""
    packet = intruder(scene)
    scene.note(None, f"a stranger sends {packet.message.hex()}, TTL {packet.ttl}")
    interval = max(scene.world.scenario.advert_int, 0.05)
    for number in range(min(int(duration / interval), 50)):
        scene.after(number * interval, lambda: scene.world.intrude(packet))


def intruder(scene: Scene) -> et.PacketReceived:
    """An advert of priority 254 that is wrong in one way: addresses of another router, another
    version, a bad checksum, a TTL that crossed a router, or cut short."""
    version = scene.world.scenario.version
    addresses = (Address("203.0.113.9"),)
    kind = scene.rng.choice(("addresses", "version", "checksum", "ttl", "length"))
    version = 5 - version if kind == "version" else version
    said = Advert(version, 51, 254, 1.0, addresses)
    group = advert.GROUPS[4]
    message = bytearray(advert.encode(said, INTRUDER, group, Checksum.AUTO))
    if kind == "checksum":
        message[6] ^= 0x55
    if kind == "length":
        del message[-1:]
    return et.PacketReceived("eth0", INTRUDER, group, 254 if kind == "ttl" else 255, bytes(message))


def swizzle(scene: Scene, duration: float) -> None:
    """Cut nodes off one by one, and let them back in another order (as FoundationDB does)."""
    rng, nodes = scene.rng, scene.world.nodes
    for node in rng.sample(nodes, rng.randint(1, len(nodes))):
        others = [n.name for n in nodes if n is not node]
        ways = [(node.name, o) for o in others] + [(o, node.name) for o in others]
        cuts = [(plane, *way) for plane in PLANES for way in ways]
        begin = rng.uniform(0.0, duration / 2)
        lasts = rng.uniform(0.0, duration / 2)
        scene.after(begin, lambda cuts=cuts, lasts=lasts: cut(scene, lasts, cuts))  # type: ignore[misc]  # bound defaults


def link_down(scene: Scene, duration: float) -> None:
    """An interface loses its carrier, perhaps more than once."""
    node, interface = scene.node, scene.rng.choice(INTERFACES)
    for _ in range(scene.rng.randint(1, 3)):
        begin = scene.rng.uniform(0.0, duration / 2)
        scene.after(begin, lambda: set_link(scene, node, interface, up=False))
        end = begin + scene.rng.uniform(0.0, duration / 2)
        scene.after(end, lambda: set_link(scene, node, interface, up=True))


def set_link(scene: Scene, node: Node, interface: str, up: bool) -> None:
    """Carrier comes or goes; the kernel tells."""
    scene.note(node, f"{interface} {'up' if up else 'down'}")
    if up:
        node.host.down.discard(interface)
    else:
        node.host.down.add(interface)
    if node.election is not None:
        node.election.relink()


def no_gateway(scene: Scene, duration: float) -> None:
    """Nothing answers for the gateways."""
    scene.world.gateway_answers = False
    scene.after(duration, lambda: setattr(scene.world, "gateway_answers", True))


def cut(scene: Scene, duration: float, cuts: list[tuple[str, str, str]]) -> None:
    """No packet passes on these (plane, from, to)."""
    scene.note(None, f"cut {cuts}")
    scene.world.network.cut(cuts, scene.world.agenda.now + duration)


# --- processes -------------------------------------------------------------------------------


def kill_election(scene: Scene, duration: float) -> None:
    """kill -9, at times in the middle of what it does; started again."""
    node = scene.node
    scene.note(node, "election killed")
    if node.election is not None and scene.rng.random() < 0.5:
        node.election.die_after = scene.rng.randint(0, 4)
    else:
        node.kill_election()
    scene.after(min(duration, scene.rng.uniform(*STARTS_IN)), lambda: _revive(node))


def _revive(node: Node) -> None:
    node.kill_election()  # one that was to die in the middle of something, and had nothing to do
    node.start_election()


def kill_director(scene: Scene, duration: float) -> None:
    """kill -9 or restart-director; started again, at times late."""
    node = scene.node
    scene.note(node, "director killed")
    node.kill_director()
    late = scene.rng.random() < 0.3
    pause = duration if late else scene.rng.uniform(*STARTS_IN)
    scene.after(min(duration, pause), node.start_director)


def kill_all(scene: Scene, duration: float) -> None:
    """kill -9 of every process of a node."""
    node = scene.node
    scene.note(node, "everything killed")
    node.kill_all()
    scene.after(duration * scene.rng.random(), node.start)


def power_off(scene: Scene, duration: float) -> None:
    """The node is gone, and comes back; its switch port at times later than itself."""
    node = scene.node
    scene.note(node, "power off")
    node.power_off()
    scene.after(duration * scene.rng.random(), lambda: power_on(scene, node))


def power_on(
    scene: Scene, node: Node, port: float = 0.3, opens_in: Sequence[float] = PORT_OPENS_IN
) -> None:
    """Back, knowing nothing; `port`: the chance of a switch port that opens late."""
    if node.on:
        return
    scene.note(node, "power on")
    node.on = True
    if scene.rng.random() < port:
        others = [n.name for n in scene.world.nodes if n is not node] + ["gateway"]
        ways = [(node.name, o) for o in others] + [(o, node.name) for o in others]
        closed = scene.rng.uniform(0.0, scene.rng.choice(opens_in))
        cut(scene, closed, [(plane, *way) for plane in INTERFACES for way in ways])
    node.start()


def stop(scene: Scene, duration: float) -> None:
    """`systemctl stop`, and a start later."""
    node = scene.node
    scene.note(node, "stopping in order")
    node.stop()
    scene.after(duration, lambda: restart(node))


def restart(node: Node) -> None:
    """Start after a stop that may not have ended yet."""
    if not node.supervised and node.on:
        node.kill_all()
        node.start()


def hang_election(scene: Scene, duration: float) -> None:
    """Its loop stands still, its lease thread as well or not; killed when that lasts."""
    node, whole = scene.node, scene.rng.random() < 0.5
    hang(scene, node, whole)
    scene.after(duration * scene.rng.random(), node.resume_election)


def hang(scene: Scene, node: Node, whole: bool) -> None:
    """Until somebody resumes it or the supervisor kills it."""
    scene.note(node, f"election hangs, {'whole' if whole else 'its loop'}")
    node.hang_election(whole)
    hanging = node.election
    since = hanging.loop.blocked_since if hanging is not None else None

    def lose_patience() -> None:
        if node.election is not hanging or hanging is None or not hanging.loop.alive:
            return
        if since is not None and hanging.loop.blocked_since == since:
            node.kill_election()
            scene.after(scene.rng.uniform(*STARTS_IN), node.start_election)

    scene.after(SILENCE, lose_patience)


def hang_director(scene: Scene, duration: float) -> None:
    """It stands still, for longer than the election waits at times."""
    node = scene.node
    scene.note(node, "director hangs")
    node.hang_director()
    scene.after(duration * scene.rng.random(), node.resume_director)


def sleep(scene: Scene, duration: float) -> None:
    """The node is suspended (its clock counts on) or paused (its clock stands still)."""
    put_to_sleep(scene, scene.node, duration * scene.rng.random(), scene.rng.random() < 0.5)


def put_to_sleep(scene: Scene, node: Node, duration: float, counts: bool) -> None:
    """`counts`: suspended."""
    if node.asleep or not node.on:
        return
    scene.note(node, f"{'suspended' if counts else 'paused'} for {duration:.3f} s")
    node.sleep(duration)

    def wake() -> None:
        if node.asleep:
            scene.note(node, "awake")
            node.host.stalled += 0.0 if counts else duration
            node.wake()

    scene.after(duration, wake)


def late_timers(scene: Scene, duration: float) -> None:
    """A starved CPU: wake-ups come late."""
    node, rng = scene.node, scene.rng
    late_by = rng.choice((0.005, 0.05, 0.5)) + rng.choice((0.0, 2.0)) * _interval(scene)
    scene.note(node, f"wake-ups late by up to {late_by:g} s")
    for process in (node.election, node.director):
        if process is not None:
            process.loop.lateness, process.loop.late_by = rng.random(), late_by
            scene.after(duration, lambda loop=process.loop: setattr(loop, "lateness", 0.0))  # type: ignore[misc]  # a bound default


def channel_cut(scene: Scene, duration: float) -> None:
    """Nothing passes between election and director, in one direction or both."""
    host = scene.node.host
    pipes = [host.to_election, host.to_director]
    for pipe in scene.rng.sample(pipes, scene.rng.randint(1, 2)):
        pipe.cut = True
        scene.after(duration, pipe.mend)


def _interval(scene: Scene) -> float:
    return scene.world.scenario.advert_int


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        weather,
        one_way,
        split,
        filtered,
        stranger,
        swizzle,
        link_down,
        no_gateway,
        kill_election,
        kill_director,
        kill_all,
        power_off,
        stop,
        hang_election,
        hang_director,
        sleep,
        late_timers,
        channel_cut,
        track,
        handover,
        standby,
        reload_priority,
        reload_addresses,
    )
}
