"""The modules of a kernel, wherever they are."""

from pathlib import Path

import pytest

from hadirector.core.doctor.facts import Modules
from hadirector.shell import kernel_modules


def test_loaded_modules_files_and_what_is_built_in_are_all_found(tmp_path: Path) -> None:
    for name in ("ip_vs_wrr", "ip_vs", "sch_ingress"):
        (tmp_path / "sys/module" / name).mkdir(parents=True)
    modules = tmp_path / "lib/modules/6.1"
    modules.mkdir(parents=True)
    ipvs = "kernel/net/netfilter/ipvs"
    (modules / "modules.builtin").write_text(f"{ipvs}/ip_vs_rr.ko\n")
    (modules / "modules.dep").write_text(
        f"{ipvs}/ip_vs_mh.ko.xz: {ipvs}/ip_vs.ko.xz\n{ipvs}/ip_vs_sh.ko:\n"
        f"{ipvs}/ip_vs_pe_sip.ko:\nkernel/net/sched/cls-bpf.ko:\n"
    )

    assert kernel_modules.read(tmp_path, "6.1") == Modules(
        frozenset({"ip_vs_wrr", "ip_vs", "sch_ingress", "ip_vs_rr"}),
        frozenset({"ip_vs_mh", "ip_vs_sh", "ip_vs_pe_sip", "cls_bpf"}),
    )
    assert kernel_modules.schedulers(tmp_path, "6.1") == ("rr", "wrr", "sh", "mh")


def test_an_ip_vs_that_is_in_no_list_is_known_by_its_table(tmp_path: Path) -> None:
    for folder in ("sys/module", "proc/net/ip_vs"):
        (tmp_path / folder).mkdir(parents=True)

    assert kernel_modules.read(tmp_path, "6.1") == Modules(frozenset({"ip_vs"}))


def test_where_nothing_can_be_read_no_scheduler_is_known_and_doctor_is_told(tmp_path: Path) -> None:
    assert kernel_modules.schedulers(tmp_path / "nowhere", "6.1") == ()
    with pytest.raises(OSError, match="sys/module"):
        kernel_modules.read(tmp_path / "nowhere", "6.1")
