"""The settings a director owns."""

import pytest

from hadirector.core import sysctls
from hadirector.core.ipvs import Timeouts


@pytest.mark.parametrize(
    ("timeouts", "period"),
    [
        (Timeouts(tcp=900, tcp_fin=120, udp=300), 10),
        (Timeouts(), 10),
        (Timeouts(tcp=12, tcp_fin=120, udp=300), 4),
        (Timeouts(tcp=900, tcp_fin=120, udp=20), 6),
        (Timeouts(tcp=900, tcp_fin=29, udp=300), 9),
        (Timeouts(tcp=1, tcp_fin=120, udp=300), 1),
    ],
)
def test_the_refresh_period_fits_three_times_into_the_shortest_timeout(
    timeouts: Timeouts, period: int
) -> None:
    assert sysctls.refresh_period(timeouts) == period


def test_sync_settings_damp_the_threshold_before_it_is_opened() -> None:
    settings = {each.name: each.value for each in sysctls.for_sync(Timeouts(tcp=12))}

    assert settings == {
        "net.core.rmem_max": "8388608",
        "net.ipv4.vs.sync_sock_size": "8388608",
        "net.ipv4.vs.sync_version": "1",
        "net.ipv4.vs.backup_only": "0",
        "net.ipv4.vs.sync_persist_mode": "0",
        "net.ipv4.vs.sync_refresh_period": "4",
        "net.ipv4.vs.sync_retries": "1",
        "net.ipv4.vs.sync_threshold": "0 1",
    }
    names = list(settings)
    assert names.index("net.ipv4.vs.sync_refresh_period") < names.index(
        "net.ipv4.vs.sync_threshold"
    )


def test_only_buffers_are_raise_only() -> None:
    every = [*sysctls.for_director(ipv6=True), *sysctls.for_sync(Timeouts())]

    assert [each.name for each in every if each.raise_only] == [
        "net.core.rmem_max",
        "net.ipv4.vs.sync_sock_size",
    ]


def test_ipv6_forwarding_is_touched_only_where_it_is_needed() -> None:
    with_ipv6 = {each.name for each in sysctls.for_director(ipv6=True)}
    without = {each.name for each in sysctls.for_director(ipv6=False)}

    assert with_ipv6 - without == {"net.ipv6.conf.all.forwarding"}
    assert "net.ipv4.ip_forward" in without
