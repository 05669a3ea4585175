"""What is accepted and not active yet is told, key by key, and only where it asks for something."""

from pathlib import Path

from hadirector.config.inactive import INACTIVE, warn
from hadirector.config.problem import Problems
from hadirector.config.tree import Mapping
from hadirector.config.yaml_tree import parse
from tests.config.files import load_text

ASKING = """\
connection_sync: {interface: eth1, transport: kernel, resync: on-join}
checks: {page: {type: http}}
virtual_services: {web: {address: 192.0.2.10:80, real_servers: [10.0.1.1:80], check: page,
  slow_start: 30s, floor: 0.5}}
vrrp:
  instances:
    front: {interface: eth0, virtual_router_id: 1}
"""
CONTENT = """\
connection_sync: {interface: eth1, transport: kernel, resync: never}
checks: {page: {type: http, held: false}}
virtual_services: {web: {address: 192.0.2.10:80, real_servers: [10.0.1.1:80], check: page,
  slow_start: 0, floor: 0}}
vrrp:
  defaults: {version: 3}
  instances:
    front: {version: 3, interface: eth0, virtual_router_id: 1, couple: false, vmac: false,
      virtual_addresses: [192.0.2.10/24, "2001:db8::1/64"], unicast: {}, accept: true,
      authentication: none, virtual_routes: [], virtual_rules: [], excluded_addresses: []}
"""


def warnings(text: str) -> list[str]:
    problems = Problems()
    tree = parse(text, "main.yaml", problems)
    assert isinstance(tree, Mapping)
    warn(tree, problems)
    return [problem.text for problem in problems.ordered("main.yaml")]


def test_every_row_of_the_table_is_told_with_what_happens_instead() -> None:
    told = warnings(ASKING)

    assert len(told) == len(INACTIVE)
    for row in INACTIVE:
        assert any(text.endswith(f": accepted, not active yet: {row.instead}") for text in told)


def test_values_that_are_in_effect_anyway_are_not_told() -> None:
    assert warnings(CONTENT) == []


def test_a_file_that_is_content_with_what_is_active_has_no_problems(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, CONTENT)

    assert loaded.config is not None
    assert loaded.problems == ()
