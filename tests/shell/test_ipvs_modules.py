"""The schedulers of a kernel, wherever they are."""

from pathlib import Path

from hadirector.shell.ipvs_modules import schedulers


def test_loaded_modules_files_and_what_is_built_in_are_all_found(tmp_path: Path) -> None:
    modules = tmp_path / "lib/modules/6.1"
    for path in (
        tmp_path / "sys/module/ip_vs_wrr",
        tmp_path / "sys/module/ip_vs",
        modules / "kernel/net/netfilter/ipvs/ip_vs_mh.ko.xz",
        modules / "kernel/net/netfilter/ipvs/ip_vs_sh.ko",
        modules / "kernel/net/netfilter/ipvs/ip_vs_pe_sip.ko",
    ):
        path.mkdir(parents=True)
    (modules / "modules.builtin").write_text("kernel/net/netfilter/ipvs/ip_vs_rr.ko\n")

    assert schedulers(tmp_path, "6.1") == ("rr", "wrr", "sh", "mh")
    assert schedulers(tmp_path / "nowhere", "6.1") == ()
