"""A healthy host as doctor sees it, master or standby: each test makes something of it ill."""

from dataclasses import replace

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor.examine import examine
from hadirector.core.doctor.facts import (
    AdvertSeen,
    Answer,
    ArpAnswer,
    Asked,
    Conntrack,
    Daemon,
    Facts,
    Link,
    LocalAddress,
    Manner,
    Modules,
    Passage,
    PeerFacts,
    ProcessFacts,
    Question,
)
from hadirector.core.doctor.facts import (
    Path as Way,
)
from hadirector.core.settings.cluster import Config

VIP = Address("192.0.2.10")
OWN, PEER = Address("10.0.1.1"), Address("10.0.1.2")
NAT, DR, TUN = Address("10.0.1.11"), Address("192.0.2.12"), Address("192.0.2.13")
OWN_MAC, SERVER_MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:12", "02:00:00:00:00:99"

TEXT = f"""\
cluster: shop
nodes: {{lb1: {{priority: 150, address: {OWN}}}, lb2: {{priority: 100, address: {PEER}}}}}
vrrp:
  defaults: {{advert_int: 1s}}
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [{VIP}/24, {{address: 10.0.1.254/24, interface: eth1}}]
connection_sync: {{interface: eth1, sync_id: 51}}
virtual_services:
  web: {{address: "{VIP}:80", real_servers: ["{NAT}:8080"]}}
  direct: {{address: "{VIP}:81", forward: dr, real_servers: ["{DR}:81"]}}
  tunnel: {{address: "{VIP}:82", forward: tun, real_servers: ["{TUN}:82"]}}
"""

PLAIN_NAT = Question(Manner.PLAIN, "web", Endpoint(NAT, 8080), Endpoint(NAT, 8080), OWN)
FAR = replace(PLAIN_NAT, manner=Manner.FAR, source=Address("192.0.2.1"))
PLAIN_DR = Question(
    Manner.PLAIN, "direct", Endpoint(DR, 81), Endpoint(DR, 81), Address("192.0.2.1")
)
VIRTUAL_DR = replace(PLAIN_DR, manner=Manner.VIRTUAL, target=Endpoint(VIP, 81))
PLAIN_TUN = replace(PLAIN_DR, service="tunnel", server=Endpoint(TUN, 82), target=Endpoint(TUN, 82))
VIRTUAL_TUN = replace(
    PLAIN_TUN, manner=Manner.VIRTUAL, target=Endpoint(VIP, 82), tunnel=ipvs.TunnelType.IPIP
)
ASKED = (
    Asked(PLAIN_NAT, Answer.OPEN, "eth1", SERVER_MAC, 1460),
    Asked(FAR, Answer.OPEN, "eth1", SERVER_MAC, 1460),
    Asked(PLAIN_DR, Answer.OPEN, "eth0", SERVER_MAC, 1460),
    Asked(VIRTUAL_DR, Answer.OPEN, "eth0", SERVER_MAC, 1460),
    Asked(PLAIN_TUN, Answer.OPEN, "eth0", SERVER_MAC, 1440),
    Asked(VIRTUAL_TUN, Answer.OPEN, "eth0", SERVER_MAC, 1440),
)
OURS = AdvertSeen("eth0", True, Address("192.0.2.1"), OWN_MAC, 51, 150, (VIP,))
THEIRS = AdvertSeen("eth0", False, Address("192.0.2.2"), OTHER_MAC, 51, 100, (VIP,), reached=True)
HEALTHY = Facts(
    sysctls={
        "net.ipv4.ip_forward": "1",
        "net.ipv4.vs.backup_only": "0",
        "net.core.rmem_max": "8388608",
        "net.ipv4.conf.all.rp_filter": "1",
        "net.ipv4.conf.eth0.rp_filter": "0",
        "net.ipv4.conf.all.send_redirects": "0",
        "net.ipv4.conf.eth0.send_redirects": "0",
    },
    links={"eth0": Link("eth0", OWN_MAC, 1500, True), "eth1": Link("eth1", OWN_MAC, 1500, True)},
    addresses=(
        LocalAddress("eth0", Address("192.0.2.1"), 24),
        LocalAddress("eth0", VIP, 32),
        LocalAddress("eth1", OWN, 24),
        LocalAddress("eth1", Address("10.0.1.254"), 32),
    ),
    paths={
        NAT: Way("eth1", None, OWN, 1500),
        DR: Way("eth0", None, Address("192.0.2.1"), 1500),
        TUN: Way("eth0", None, Address("192.0.2.1"), 1500),
    },
    beyond={4: Way("eth0", Address("192.0.2.254"), Address("192.0.2.1"), 1500)},
    modules=Modules(frozenset({"ip_vs"}), frozenset({"ip_vs_wlc"})),
    arp=(ArpAnswer("eth0", DR, SERVER_MAC), ArpAnswer("eth1", PEER, OTHER_MAC)),
    asked=ASKED,
    adverts=(OURS,),
    passage=Passage.PASSED,
    daemon=Daemon(
        states={"front/ipv4": "master"},
        masters={"front/ipv4": Address("192.0.2.1")},
        peers={"lb2": PeerFacts(True, {"front/ipv4": "backup"})},
        processes=(ProcessFacts("election", 7, None, True, True),),
    ),
    conntrack=Conntrack(10, 65536),
)
STANDBY = replace(
    HEALTHY,
    addresses=tuple(a for a in HEALTHY.addresses if a.prefix != 32),
    adverts=(THEIRS,),
    daemon=replace(
        HEALTHY.daemon or Daemon(),
        states={"front/ipv4": "backup"},
        masters={"front/ipv4": Address("192.0.2.2")},
    ),
)


def found(config: Config, facts: Facts) -> list[tuple[str, str]]:
    """Code and subject of each finding."""
    return [(f.code, f.subject) for f in examine(config, facts).findings]
