"""What doctor says of what no director can keep."""

from dataclasses import replace
from pathlib import Path

from hadirector.core.doctor.examine import examine
from hadirector.core.doctor.facts import Modules
from tests.config.files import config_of
from tests.core.clinic import HEALTHY, NAT, TEXT, VIP

FTP = f"""\
  files: {{address: "{VIP}:21", real_servers: ["{NAT}:21"]}}
"""
WITH_HELPER = replace(
    HEALTHY, modules=Modules(HEALTHY.modules.loaded | {"ip_vs_ftp"}, HEALTHY.modules.loadable)
)


def limits(path: Path, text: str, healthy: bool = True) -> list[str]:
    """Whose, of what is told."""
    report = examine(config_of(path, text), HEALTHY if healthy else WITH_HELPER)
    return [line.partition(":")[0] for line in report.limits]


def test_ftp_by_nat_with_the_kernels_helper_is_told_to_be_lost_at_a_failover(
    tmp_path: Path,
) -> None:
    assert limits(tmp_path, TEXT + FTP, healthy=False) == ["files"]


def test_ftp_without_the_helper_is_kept_like_any_connection(tmp_path: Path) -> None:
    assert limits(tmp_path, TEXT + FTP) == []


def test_ftp_by_direct_routing_is_kept_whatever_helper_there_is(tmp_path: Path) -> None:
    direct = FTP.replace("real_servers", "forward: dr, real_servers")

    assert limits(tmp_path, TEXT + direct, healthy=False) == []


def test_a_persistent_service_is_told_what_its_templates_lose(tmp_path: Path) -> None:
    text = TEXT.replace("  web: {", "  web: {persistence: {timeout: 300s}, ")

    assert limits(tmp_path, text) == ["web"]


def test_without_connection_sync_nothing_is_promised_and_nothing_told(tmp_path: Path) -> None:
    text = TEXT.replace("connection_sync: {interface: eth1, sync_id: 51}\n", "")

    assert limits(tmp_path, text + FTP, healthy=False) == []


def test_limits_are_no_findings(tmp_path: Path) -> None:
    text = TEXT.replace("  web: {", "  web: {persistence: {timeout: 300s}, ")

    assert examine(config_of(tmp_path, text), HEALTHY).findings == ()
