"""The IPVS table as `ipvsadm --restore` reads it.

What `ipvsadm -Sn` writes, and the thresholds, which it leaves out.
"""

from collections.abc import Iterable, Iterator

from hadirector.core.ipvs_text import endpoint, mask_of
from hadirector.core.ipvs_view import ServerView, ServiceView

_SERVICE_SWITCHES = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_FORWARD_SWITCHES = {"nat": "-m", "local": "-g", "tun": "-i", "dr": "-g", "bypass": "-g"}


def lines(services: Iterable[ServiceView]) -> Iterator[str]:
    """Each service and its servers, in the order given."""
    for service in services:
        name = _name(service)
        yield f"-A {name} {_manner(service)}"
        for server in service.servers:
            yield f"-a {name} -r {endpoint(server.address, server.port)} {_server(server)}"


def _name(service: ServiceView) -> str:
    if service.protocol == "fwmark":
        return f"-f {service.fwmark}" + (" -6" if service.family == 6 else "")
    return f"{_SERVICE_SWITCHES[service.protocol]} {endpoint(service.address, service.port)}"


def _manner(service: ServiceView) -> str:
    words = [f"-s {service.scheduler}"]
    if service.persistence_timeout:
        words.append(f"-p {service.persistence_timeout}")
        words += [f"-M {mask}"] if (mask := mask_of(service)) else []
    if service.persistence_engine:
        words.append(f"--pe {service.persistence_engine}")
    if service.one_packet:
        words.append("-o")
    if service.scheduler_flags:
        words.append(f"-b {','.join(service.scheduler_flags)}")
    return " ".join(words)


def _server(server: ServerView) -> str:
    words = [_FORWARD_SWITCHES[server.forward], f"-w {server.weight}"]
    if server.upper_threshold or server.lower_threshold:
        words.append(f"-x {server.upper_threshold} -y {server.lower_threshold}")
    if server.tunnel:
        words.append(f"--tun-type {server.tunnel}")
    if server.tunnel == "gue":
        words.append(f"--tun-port {server.tunnel_port}")
    if server.tunnel in ("gue", "gre"):
        words.append(f"--tun-{server.tunnel_flags[0] if server.tunnel_flags else 'nocsum'}")
    return " ".join(words)
