"""What a kernel without IPVS is told as."""

import pytest

from hadirector.core import plan
from hadirector.core.address import Address
from hadirector.core.ipvs import ServiceKey, SyncRole
from hadirector.shell import ipvs


async def test_a_kernel_without_ipvs_is_one_clear_error_whatever_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ipvs, "_FAMILY_NAME", "NOT-IPVS")

    with ipvs.Ipvs() as kernel:
        for call in (
            kernel.read(),
            kernel.apply([plan.DeleteService(ServiceKey(4, 6, Address("192.0.2.1"), 80))]),
            kernel.get_info(),
            kernel.threads(),
            kernel.stop_thread(SyncRole.MASTER),
            kernel.zero(),
        ):
            with pytest.raises(ipvs.IpvsMissing) as caught:
                await call
            assert str(caught.value) == "asking for IPVS: the kernel has no IPVS: modprobe ip_vs"


async def test_a_family_number_that_went_stale_is_looked_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ipvs, "_FAMILY_NAME", "NOT-IPVS")

    with ipvs.Ipvs() as kernel:
        monkeypatch.setattr(kernel, "_family", 0x3FF)
        with pytest.raises(ipvs.IpvsMissing):
            await kernel.read()
