"""Scripts, hooks and what instances track: what they mean, and every mistake with its place."""

from pathlib import Path

import pytest

from hadirector.core.settings.cluster import Hook, Script
from hadirector.core.settings.instances import Tracked, TrackedFile
from tests.config.files import config_of, told

FRONT = """\
nodes: {lb1: {address: 198.51.100.1}, lb2: {address: 198.51.100.2}}
scripts: {disk: {command: [/disk-ok]}}
virtual_services: {web: {address: 192.0.2.10:80, real_servers: [10.0.1.11:80]}}
vrrp:
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10/24]
      track_interfaces: {disk: %s}
"""
OWN = "vrrp.instances.front."

PROGRAMS = [
    ("hooks: [{events: [master, master], command: [/n]}]", "1:18 error: hooks.events: names one "
     "twice: keep one"),
    ("hooks: [{events: [], command: [/n]}]", "1:18 error: hooks.events: is empty: name master, "
     "backup, fault, stopped, server_down, server_up, quorum_lost, quorum_gained"),
    ("hooks: [{command: [/n]}]", "1:9 error: hooks: 'events' is missing: add 'events: [master, "
     "backup]'"),
    ("hooks: [{events: [master]}]", "1:9 error: hooks: 'command' is missing: add 'command: "
     "[/usr/local/bin/program, argument]'"),
    ("hooks: [{events: [master], command: [notify]}]", "1:37 error: hooks.command: 'notify' is not "
     "an absolute path: begin it with '/'"),
    ("hooks: [{events: [master], command: [/n], timeout: 0}]", "1:52 error: hooks.timeout: 0 is "
     "out of range: 100ms to 1h"),
    ("scripts: {s: {command: []}}", "1:24 error: scripts.s.command: needs a list, no shell is "
     "used: [/usr/local/bin/program, argument]"),
    ("scripts: {s: {command: [disk-ok]}}", "1:24 error: scripts.s.command: 'disk-ok' is not an "
     "absolute path: begin it with '/'"),
    ("scripts: {s: {command: [/s], rise: 0}}", "1:36 error: scripts.s.rise: 0 is out of range: 1 "
     "to 1000"),
    ("scripts: {s: {command: [/s], interval: 1s, timeout: 2s}}", "1:53 warning: "
     "scripts.s.timeout: longer than interval, 1s: a hung script runs less often"),
    ("scripts: {s: {command: [/s]}}", "1:11 warning: scripts.s: no instance tracks it: it is never "
     "run"),
]  # fmt: skip

TRACKED = [
    ("track_scripts: [dsk]", f"11:23 error: {OWN}track_scripts: no script is named 'dsk' (did you "
     "mean 'disk'?)"),
    ("track_scripts: {disk: 0}", f"11:29 error: {OWN}track_scripts.disk: 0 is out of range: -253 "
     "to 253, not 0; write 'fault' where its failure is a fault"),
    ("track_processes: [a, a]", f"11:24 error: {OWN}track_processes: names something twice: keep "
     "one"),
    ("track_processes: [sbin/haproxy]", f"11:25 error: {OWN}track_processes: 'sbin/haproxy' is "
     "neither a name nor an absolute path: write haproxy, or /usr/sbin/haproxy"),
    ("track_processes: [/usr/sbin/]", f"11:25 error: {OWN}track_processes: '/usr/sbin/' is a "
     "directory: name a program"),
    ("track_processes: {haproxy: 20}", f"11:34 warning: {OWN}track_processes.haproxy: raises the "
     "priority while it fails: write -20 to lower it then"),
    ("track_files: [/run/weight]", f"11:20 error: {OWN}track_files: needs keys of its own: {{key: "
     "value}"),
    ("track_files: {weight: 1}", f"11:21 error: {OWN}track_files: 'weight' is not an absolute "
     "path: begin it with '/'"),
    ("track_files: {/run/weight: 0}", f"11:34 error: {OWN}track_files./run/weight: 0 is out of "
     "range: -254 to 254, not 0"),
    ("track_services: [wbe]", f"11:24 error: {OWN}track_services: no virtual service is named "
     "'wbe' (did you mean 'web'?)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), PROGRAMS)
def test_a_mistake_in_scripts_and_hooks_is_told(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in told(tmp_path, text)


@pytest.mark.parametrize(("text", "expected"), TRACKED)
def test_a_mistake_in_what_is_tracked_is_told(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in told(tmp_path, FRONT % "fault" + f"      {text}\n", "lb1")


def test_a_number_lowers_nothing_where_the_node_owns_the_addresses(tmp_path: Path) -> None:
    text = FRONT % "-20" + "      priority: 255\n"

    assert (
        f"10:7 warning: {OWN}track_interfaces: lowers nothing at priority 255: write 'fault' "
        "instead of the number"
    ) in told(tmp_path, text, "lb1")


def test_a_tracked_service_without_another_node_never_counts(tmp_path: Path) -> None:
    text = FRONT.replace(", lb2: {address: 198.51.100.2}", "") % "fault"

    assert (
        f"11:7 warning: {OWN}track_services: there is no other node to take over, so it never "
        "counts: add the peer to nodes"
    ) in told(tmp_path, text + "      track_services: [web]\n", "lb1")


def test_what_is_tracked_is_a_fault_or_a_number(tmp_path: Path) -> None:
    text = FRONT % "fault" + (
        "      track_scripts: [disk]\n"
        "      track_processes: {haproxy: -20, /usr/sbin/named: fault}\n"
        "      track_files: {/run/weight: -2}\n"
        "      track_services: {web: -60}\n"
    )

    front = config_of(tmp_path, text, "lb1").instances[0]

    assert front.track_scripts == (Tracked("disk", None),)
    assert front.track_processes == (Tracked("haproxy", -20), Tracked("/usr/sbin/named", None))
    assert front.track_files == (TrackedFile("/run/weight", -2),)
    assert front.track_services == (Tracked("web", -60),)


def test_a_script_that_runs_often_has_no_more_time_than_that(tmp_path: Path) -> None:
    text = FRONT.replace("[/disk-ok]", "[/disk-ok], interval: 500ms") % "fault"

    assert config_of(tmp_path, text, "lb1").scripts == (
        Script("disk", ("/disk-ok",), 0.5, 0.5, 2, 2),
    )


def test_a_hook_may_be_told_that_an_instance_stopped(tmp_path: Path) -> None:
    config = config_of(tmp_path, "hooks: [{events: [stopped], command: [/n, a], timeout: 1s}]")

    assert config.hooks == (Hook(("stopped",), ("/n", "a"), 1.0),)
