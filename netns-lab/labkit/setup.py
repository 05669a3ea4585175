"""What a drill wants of its directors, and how hadirector and keepalived are told so."""

from dataclasses import dataclass, field

from labkit import server, topology

PRIORITIES = {"lb1": 150, "lb2": 100}
VRID = 51


@dataclass(frozen=True, slots=True)
class Check:
    """How real servers are checked. `kind` is http or tcp; durations are seconds."""

    kind: str = "http"
    interval: float = 1.0
    timeout: float = 0.5
    rise: int = 2
    fall: int = 2
    fast_interval: float | None = None
    held: bool | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual service on one of the virtual addresses; `servers` maps `address:port` to
    weight."""

    name: str
    port: int
    servers: dict[str, int]
    scheduler: str = "rr"
    forward: str = "nat"
    address: str = topology.VIP

    @property
    def endpoint(self) -> str:
        """`address:port`."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def nat(name: str = "web", port: int = 80, scheduler: str = "rr", **weights: int) -> Service:
    """The four servers by NAT; `rs2=3` gives one a weight."""
    servers = {
        f"{topology.back(host)}:{server.NAT_PORT}": weights.get(rs, 1)
        for rs, host in topology.SERVERS.items()
    }
    return Service(name, port, servers, scheduler, "nat")


def direct(
    name: str = "direct", scheduler: str = "rr", address: str = topology.VIP, **weights: int
) -> Service:
    """The four servers by direct routing: they answer on the service's own port."""
    servers = {
        f"{topology.front(host)}:{server.DIRECT_PORT}": weights.get(rs, 1)
        for rs, host in topology.SERVERS.items()
    }
    return Service(name, server.DIRECT_PORT, servers, scheduler, "dr", address)


def nat6(name: str = "web-six", port: int = 80, scheduler: str = "rr") -> Service:
    """The four servers by NAT, over IPv6."""
    servers = {
        f"[{topology.back6(host)}]:{server.NAT_PORT}": 1 for host in topology.SERVERS.values()
    }
    return Service(name, port, servers, scheduler, "nat", topology.VIP6)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a director is told. `pair`: the directors elect a master themselves; without,
    the lab puts the virtual address on lb1 by hand. `second`: lb2 is master of a second instance,
    with an address of its own (hadirector only)."""

    services: tuple[Service, ...] = field(default_factory=lambda: (nat(),))
    check: Check | None = Check()
    pair: bool = True
    second: bool = False
    advert_int: float = 1.0
    version: int = 3
    sync: bool = True
    preempt: str = "always"
    vip_lease: str = "auto"
    password: str = ""  # version 2 only
    priorities: dict[str, int] = field(default_factory=lambda: PRIORITIES)
    extra: str = ""  # further top-level YAML for hadirector
    transport: str = ""  # further keys of connection_sync: "transport: authenticated, ..."

    @property
    def six(self) -> bool:
        """Whether the pair has the IPv6 address too."""
        return any(":" in service.address for service in self.services)


def number(value: float) -> str:
    """Without an exponent and without needless zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


# --- hadirector ---------------------------------------------------------------------------------


def hadirector_yaml(setup: Setup, password_file: str = "") -> str:
    """One file for both directors. `password_file`: where `setup.password` is written."""
    parts = [
        "cluster: lab\nstate_dir: /run/lab-state\nruntime_dir: /run/hadirector\n",
        "nodes:\n"
        + "".join(
            f"  {name}: {{priority: {setup.priorities[name]}, address: {topology.back(host)}}}\n"
            for name, host in topology.DIRECTORS.items()
        ),
    ]
    if setup.pair:
        parts.append(_vrrp_yaml(setup, password_file))
    if setup.check:
        parts.append(_check_yaml(setup.check))
    parts.append("virtual_services:\n" + "".join(_service_yaml(s, setup) for s in setup.services))
    parts.append(setup.extra)
    return "\n".join(parts)


_SIX = f"""\
        - "{topology.VIP6}/64"
        - {{address: "{topology.GATEWAY6}/64", interface: back}}
"""


def _vrrp_yaml(setup: Setup, password_file: str) -> str:
    # The floating gateway rides on the same election: address and gateway move in one step.
    text = f"""\
vip_lease: {setup.vip_lease}
vrrp:
  defaults: {{version: {setup.version}, advert_int: {number(setup.advert_int)}}}
  instances:
    front:
      interface: front
      virtual_router_id: {VRID}
      virtual_addresses:
        - {topology.VIP}/24
        - {{address: {topology.GATEWAY}/24, interface: back}}
{_SIX if setup.six else ""}      preempt: {setup.preempt}
"""
    if setup.password:
        text += f"      authentication: {{pass: {password_file}}}\n"
    if setup.second:
        text += f"""\
    second:
      interface: front
      virtual_router_id: {VRID + 1}
      priority: {{lb1: {setup.priorities["lb2"]}, lb2: {setup.priorities["lb1"]}}}
      virtual_addresses: [{topology.SECOND_VIP}/24]
      preempt: {setup.preempt}
"""
    if setup.sync:
        more = f", {setup.transport}" if setup.transport else ""
        text += f"\nconnection_sync: {{interface: back, sync_id: {VRID}{more}}}\n"
    return text


def _quoted(endpoint: str) -> str:
    """YAML takes the bracket of an IPv6 address for a list."""
    return f'"{endpoint}"' if endpoint.startswith("[") else endpoint


def _check_yaml(check: Check) -> str:
    keys = {
        "type": check.kind,
        "interval": number(check.interval),
        "timeout": number(check.timeout),
        "rise": str(check.rise),
        "fall": str(check.fall),
    }
    if check.kind == "http":
        keys["path"] = "/healthz"
    if check.fast_interval is not None:
        keys["fast_interval"] = number(check.fast_interval)
    if check.held is not None:
        keys["held"] = str(check.held).lower()
    inner = ", ".join(f"{key}: {value}" for key, value in keys.items())
    return f"checks:\n  page: {{{inner}}}\n"


def _service_yaml(service: Service, setup: Setup) -> str:
    check = "    check: page\n" if setup.check else ""
    servers = "".join(
        f"      - {_quoted(address)}\n"
        if weight == 1
        else f"      - {{address: {_quoted(address)}, weight: {weight}}}\n"
        for address, weight in service.servers.items()
    )
    return f"""\
  {service.name}:
    address: {_quoted(service.endpoint)}
    protocol: tcp
    scheduler: {service.scheduler}
    forward: {service.forward}
{check}    real_servers:
{servers}"""


# --- keepalived ---------------------------------------------------------------------------------


def keepalived_conf(setup: Setup, node: str) -> str:
    """The same for keepalived, as close as it can be told."""
    text = "global_defs {\n    router_id lab\n}\n"
    if setup.pair:
        text += _keepalived_vrrp(setup, node)
    return text + "".join(_keepalived_service(s, setup.check) for s in setup.services)


# They come and go with the others, and are in no advert.
_KEEPALIVED_SIX = f"""\
    virtual_ipaddress_excluded {{
        {topology.VIP6}/64 dev front
        {topology.GATEWAY6}/64 dev back
    }}
"""


def _keepalived_vrrp(setup: Setup, node: str) -> str:
    version = f"    vrrp_version {setup.version}\n"
    authentication = ""
    if setup.password:
        block = f"        auth_type PASS\n        auth_pass {setup.password}\n"
        authentication = f"    authentication {{\n{block}    }}\n"
    sync = f"    lvs_sync_daemon back FRONT id {VRID}\n" if setup.sync else ""
    return f"""\
global_defs {{
{version}{sync}}}
vrrp_instance FRONT {{
    state BACKUP
    interface front
    virtual_router_id {VRID}
    priority {setup.priorities[node]}
    advert_int {number(setup.advert_int)}
    {"nopreempt" if setup.preempt == "never" else ""}
{authentication}    virtual_ipaddress {{
        {topology.VIP}/24 dev front
        {topology.GATEWAY}/24 dev back
    }}
{_KEEPALIVED_SIX if setup.six else ""}}}
"""


def _keepalived_service(service: Service, check: Check | None) -> str:
    servers = "".join(
        _keepalived_server(address, weight, check) for address, weight in service.servers.items()
    )
    return f"""\
virtual_server {service.address} {service.port} {{
    lvs_sched {service.scheduler}
    lvs_method {service.forward.upper()}
    protocol TCP
    delay_loop {number(check.interval if check else 60)}
{servers}}}
"""


def _keepalived_server(address: str, weight: int, check: Check | None) -> str:
    host, _, port = address.rpartition(":")
    probe = _keepalived_check(check) if check else ""
    host = host.strip("[]")
    return f"    real_server {host} {port} {{\n        weight {weight}\n{probe}    }}\n"


def _keepalived_check(check: Check) -> str:
    # `retry` counts the tries after the first: fall 2 is retry 1.
    timing = f"""\
            connect_timeout {number(check.timeout)}
            retry {check.fall - 1}
            delay_before_retry {number(check.fast_interval or check.interval)}
"""
    if check.kind == "tcp":
        return f"        TCP_CHECK {{\n{timing}        }}\n"
    return f"""\
        HTTP_GET {{
            url {{
                path /healthz
                status_code 200
            }}
{timing}        }}
"""
