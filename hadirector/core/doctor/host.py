"""Faults of this host beside the network: who else has a hand on addresses and IPVS, what the
daemon is not allowed, what is full."""

from collections.abc import Iterator

from hadirector.core.doctor.case import Case, virtual_addresses
from hadirector.core.doctor.check import Check
from hadirector.core.doctor.facts import Group, Managed, ProcessFacts
from hadirector.core.doctor.finding import Finding, run_again
from hadirector.core.settings.cluster import Config, SyncTransport
from hadirector.core.sysctls import for_sync

BACKUP_ONLY = "net.ipv4.vs.backup_only"
RMEM_MAX = "net.core.rmem_max"
_NEARLY_FULL = 0.9  # of the room for tracked connections

# What each also does that is ours to do.
RIVALS = {
    "keepalived": ("takes the same addresses and programs the same IPVS table", "keepalived"),
    "ldirectord": ("programs the same IPVS table", "ldirectord"),
    "vrrpd": ("elects masters on the same segment", "frr"),
    "ucarp": ("elects masters by the same protocol number, 112", "ucarp"),
    "heartbeat": ("takes addresses over", "heartbeat"),
    "pacemakerd": ("takes addresses over", "pacemaker"),
    "kube-proxy": ("programs IPVS and removes services that are not its own", "kube-proxy"),
    "kube-vip": ("takes addresses over and programs IPVS", "kube-vip"),
    "pybal": ("programs IPVS", "pybal"),
    "seesaw_engine": ("takes addresses over and programs IPVS", "seesaw"),
    "gorb": ("programs IPVS", "gorb"),
}


def checks() -> tuple[Check, ...]:
    """All of this module."""
    return (
        Check("no other VRRP or LVS daemon", (Group.PROGRAMS,), rivals),
        Check(
            "nobody else manages virtual addresses away",
            (Group.MANAGERS,),
            managed_away,
            lambda config: bool(config.instances),
        ),
        Check("the election is on time", (Group.DAEMON,), election_not_on_time),
        Check("sealed records are guarded on this host", (Group.DAEMON,), unguarded, _seals),
        Check("room for bursts of sync records", (Group.SYSCTLS,), buffers, _syncs),
        Check("IPVS balances beside its backup thread", (Group.SYSCTLS,), backup_only, _syncs),
        Check("room to track connections", (Group.CONNTRACK,), conntrack_full),
        Check("the standby does not ask itself", (Group.IPVS, Group.NETWORK), own_requests),
    )


def _syncs(config: Config) -> bool:
    return config.connection_sync is not None


def _seals(config: Config) -> bool:
    sync = config.connection_sync
    return sync is not None and sync.transport is SyncTransport.AUTHENTICATED


def rivals(case: Case) -> Iterator[Finding]:
    """One for each kind of program."""
    told = set()
    for program in case.facts.programs:
        if program.name in told:
            continue
        told.add(program.name)
        does, unit = RIVALS[program.name]
        yield Finding(
            "rival",
            program.name,
            f"{program.name} runs here (process {program.pid})",
            f"it {does}: both undo each other's work",
            (f"systemctl disable --now {unit}", f"or: kill {program.pid}"),
            run_again(f"pgrep -a {program.name}"),
        )


def managed_away(case: Case) -> Iterator[Finding]:
    """networkd and NetworkManager take what they did not put there for left-overs."""
    interfaces = {v.interface for _, v in virtual_addresses(case.config)}
    interfaces |= {instance.interface for instance in case.config.instances}
    for managed in case.facts.managers.managed:
        if managed.interface in interfaces and not managed.keeps:
            yield _networkd(managed) if managed.manager == "systemd-networkd" else _nm(managed)
    rules = any(i.virtual_rules for i in case.config.instances)
    routes = any(i.virtual_routes for i in case.config.instances)
    for wanted, taken, what in (
        (rules, case.facts.managers.foreign_rules, "RoutingPolicyRules"),
        (routes, case.facts.managers.foreign_routes, "Routes"),
    ):
        if wanted and taken:
            yield _foreign(what)


def _networkd(managed: Managed) -> Finding:
    return Finding(
        "addresses-removed",
        f"systemd-networkd on {managed.interface}",
        f"systemd-networkd manages {managed.interface} by {managed.file}, without "
        "KeepConfiguration",
        "when it is restarted, upgraded or reloads, it removes addresses it did not put there: the "
        "virtual ones vanish from the master (they are put back, after an outage)",
        (
            f"mkdir -p /etc/systemd/network/{_drop_in(managed)} && printf "
            "'[Network]\\nKeepConfiguration=static\\n' > "
            f"/etc/systemd/network/{_drop_in(managed)}/hadirector.conf",
            "networkctl reload",
        ),
        run_again("networkctl cat " + managed.interface),
    )


def _drop_in(managed: Managed) -> str:
    return managed.file.rpartition("/")[2] + ".d"


def _nm(managed: Managed) -> Finding:
    return Finding(
        "addresses-removed",
        f"NetworkManager on {managed.interface}",
        f"NetworkManager manages {managed.interface}",
        "when it activates the connection anew it sets exactly the addresses of its profile: the "
        "virtual ones vanish from the master",
        (
            f"printf '[keyfile]\\nunmanaged-devices+=interface-name:{managed.interface}\\n' > "
            "/etc/NetworkManager/conf.d/hadirector.conf  (and configure the interface otherwise)",
            "nmcli general reload conf",
        ),
        run_again(f"nmcli device show {managed.interface}"),
    )


def _foreign(what: str) -> Finding:
    return Finding(
        "addresses-removed",
        f"systemd-networkd: ManageForeign{what}",
        f"systemd-networkd removes {'rules' if 'Rule' in what else 'routes'} of others "
        f"(ManageForeign{what}, its default), and instances here have some",
        "each reconfiguration of any interface takes them from the master",
        (
            "mkdir -p /etc/systemd/networkd.conf.d && printf "
            f"'[Network]\\nManageForeign{what}=no\\n' > "
            "/etc/systemd/networkd.conf.d/hadirector.conf",
            "systemctl restart systemd-networkd",
        ),
        run_again("networkctl status; ip rule; ip route show"),
    )


def election_not_on_time(case: Case) -> Iterator[Finding]:
    """Pages that are swapped out and other programs make adverts late."""
    for process in _processes(case):
        if process.name != "election":
            continue
        if process.locked is False:
            limit = process.memory_limit
            why = f"; its limit is {limit >> 10} KiB" if limit is not None else ""
            yield Finding(
                "memory-not-locked",
                "election",
                f"the memory of the election process ({process.pid}) is not locked{why}",
                "under memory pressure its pages are on disk when an advert is due: the standby "
                "takes over from a healthy master",
                (
                    "systemctl edit hadirector: [Service] LimitMEMLOCK=infinity",
                    "systemctl restart hadirector",
                ),
                run_again(f"grep VmLck /proc/{process.pid}/status"),
            )
        if process.realtime is False:
            yield Finding(
                "not-realtime",
                "election",
                f"the election process ({process.pid}) has no real-time scheduling",
                "a busy host makes its adverts late, and the standby takes over",
                (
                    "systemctl edit hadirector: [Service] AmbientCapabilities=CAP_SYS_NICE "
                    "CapabilityBoundingSet=CAP_SYS_NICE, and no CPUAffinity=",
                    "systemctl restart hadirector",
                ),
                run_again(f"chrt -p {process.pid}"),
            )


def _processes(case: Case) -> tuple[ProcessFacts, ...]:
    return case.facts.daemon.processes if case.facts.daemon else ()


def unguarded(case: Case) -> Iterator[Finding]:
    """The private interface is guarded by programs that the daemon may not always load."""
    open_way = case.facts.daemon.unguarded if case.facts.daemon else ""
    if not open_way:
        return
    fix: tuple[str, ...] = ("modprobe sch_ingress cls_bpf  (and /etc/modules-load.d)",)
    if "CAP_BPF" in open_way:
        caps = "AmbientCapabilities=CAP_BPF\\nCapabilityBoundingSet=CAP_BPF"
        folder = "/etc/systemd/system/hadirector.service.d"
        fix = (
            f"mkdir -p {folder} && printf '[Service]\\n{caps}\\n' > {folder}/bpf.conf",
            "systemctl daemon-reload && systemctl restart hadirector",
        )
    yield Finding(
        "sync-unguarded",
        "hadirector-sync",
        open_way,
        "the peer believes what is sealed: whoever may run a program here can put connections into "
        "the standby's table, or end some there",
        (*fix, "or nobody but root logs in here: then it may stay as it is"),
        run_again("hadirector sync  (it warns of it)"),
    )


def buffers(case: Case) -> Iterator[Finding]:
    """rmem_max is there in the initial network namespace only."""
    current = case.sysctl(RMEM_MAX)
    wanted = next(s.value for s in for_sync(case.config.timeouts) if s.name == RMEM_MAX)
    if current.isdecimal() and int(current) < int(wanted):
        yield Finding(
            "rmem-max",
            RMEM_MAX,
            f"{RMEM_MAX} is {current}, and sync wants {wanted}",
            "bursts of sync records (a resync, a rush of clients) overflow the receive buffer of "
            "the standby: those connections break at a takeover",
            (
                "cp conf/sysctl.d/90-hadirector.conf /etc/sysctl.d/ && sysctl --system",
                "systemctl restart hadirector  (the buffer is sized when the sync thread starts)",
            ),
            run_again(f"sysctl {RMEM_MAX}"),
        )


def backup_only(case: Case) -> Iterator[Finding]:
    """Measured: it stops the master too, as both threads run on both nodes."""
    if case.sysctl(BACKUP_ONLY) in ("", "0"):
        return
    yield Finding(
        "backup-only",
        BACKUP_ONLY,
        f"{BACKUP_ONLY} is {case.sysctl(BACKUP_ONLY)}",
        "both sync threads run on both nodes, and with this setting a node with a backup thread "
        "balances nothing, the master included",
        (f"sysctl -w {BACKUP_ONLY}=0", "grep -r backup_only /etc/sysctl.conf /etc/sysctl.d"),
        run_again(f"sysctl {BACKUP_ONLY}"),
    )


def conntrack_full(case: Case) -> Iterator[Finding]:
    """A full table drops packets of new connections, those to virtual services too."""
    facts = case.facts.conntrack
    if facts is None or not facts.most or facts.count < _NEARLY_FULL * facts.most:
        return
    yield Finding(
        "conntrack-full",
        "nf_conntrack",
        f"{facts.count} of at most {facts.most} connections are tracked",
        "when it is full the kernel drops packets of every new connection ('nf_conntrack: table "
        "full' in dmesg), before IPVS sees them",
        (
            f"sysctl -w net.netfilter.nf_conntrack_max={max(4 * facts.most, 262144)}",
            "or do not track what IPVS balances: iptables -t raw -A PREROUTING -d VIP -p tcp "
            "--dport PORT -j NOTRACK  (net.ipv4.vs.conntrack=0)",
        ),
        run_again("sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"),
    )


def own_requests(case: Case) -> Iterator[Finding]:
    """Connections of this host itself in its own table, while another node has the address."""
    if case.is_master():
        return
    told = set()
    for each in case.facts.own_connections:
        if each.virtual in told or case.holds(each.virtual.address):
            continue
        told.add(each.virtual)
        yield Finding(
            "own-requests",
            str(each.virtual),
            f"a program of this standby asks {each.virtual} (from {each.client})",
            "its requests are balanced by this node's own table and never reach the master: "
            "monitoring here sees nothing of what clients see, and answers of NAT servers go to "
            "the master, which does not know the connection",
            (
                f"ss -tnp dst {each.virtual.address}  (which program is it?)",
                "let it ask from a host that is no director",
            ),
            run_again("ipvsadm -Lnc"),
        )
