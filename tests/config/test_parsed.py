"""What was parsed before is not parsed again, and never believed wrongly."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hadirector.config import apart, handover, yaml_tree
from hadirector.config.load import load
from hadirector.config.parsed import Parsed
from hadirector.config.problem import Problems

INCLUDES = 4


def farm(folder: Path) -> Path:
    """A file with four includes of 300 servers each; its path."""
    (folder / "conf.d").mkdir()
    main = folder / "main.yaml"
    main.write_text(
        "include: [conf.d/*.yaml]\ncluster: c\nnodes: {lb1: {}}\n"
        f"runtime_dir: {folder}\nchecks: {{alive: {{type: tcp}}}}\n"
    )
    for number in range(INCLUDES):
        lines = [f"  s{number}:\n    address: 192.0.2.{number}:80\n    check: alive"]
        lines.append("    real_servers:")
        lines += [
            f"      - {{address: 10.{number}.{n // 250}.{n % 250 + 1}:80, weight: 1}}"
            for n in range(300)
        ]
        text = "virtual_services:\n" + "\n".join(lines) + "\n"
        (folder / "conf.d" / f"s{number}.yaml").write_text(text)
    return main


def edit(main: Path, number: int, weight: int) -> None:
    """Another weight for the first server of one include."""
    path = main.parent / "conf.d" / f"s{number}.yaml"
    head, _, rest = path.read_text().partition("weight: ")
    path.write_text(f"{head}weight: {weight}{rest[1:]}")


def read(main: Path) -> tuple[int, bytes]:
    """How many long files had to be parsed, and what the configuration says."""
    parsed = Parsed(f"{main.parent}/parsed")
    loaded = load(str(main), "lb1", parse=parsed.parse)
    assert loaded.config is not None, loaded.problems
    parsed.keep(f"{main.parent}/parsed")
    return parsed.again, handover.encode(loaded)


def twice(main: Path) -> list[handover.Loaded]:
    """What is said of a file that is bad, and again when it is read with what was kept."""
    found = []
    for _ in range(2):
        parsed = Parsed(f"{main.parent}/parsed")
        found.append(load(str(main), "lb1", parse=parsed.parse))
        parsed.keep(f"{main.parent}/parsed")
    return found


def kept(main: Path) -> list[Path]:
    return sorted((main.parent / "parsed").iterdir())


def test_an_edit_of_one_include_has_one_include_parsed(tmp_path: Path) -> None:
    main = farm(tmp_path)
    assert read(main)[0] == INCLUDES
    edit(main, 2, 7)

    again, told = read(main)

    assert again == 1
    assert told == handover.encode(load(str(main), "lb1"))
    assert len(kept(main)) == INCLUDES, "what is no file any more is forgotten"


def test_the_process_that_reads_for_a_reload_parses_what_changed(tmp_path: Path) -> None:
    main = farm(tmp_path)
    subprocess.run(apart.command(str(main), "lb1"), check=True, capture_output=True)
    before = kept(main)
    edit(main, 1, 9)

    command = apart.command(str(main), "lb1", str(tmp_path))
    told = subprocess.run(command, check=True, capture_output=True).stdout

    assert handover.decode(told) == load(str(main), "lb1")
    assert len(set(before) - set(kept(main))) == 1


def test_an_include_that_was_touched_or_moved_is_known(tmp_path: Path) -> None:
    main = farm(tmp_path)
    read(main)
    file = tmp_path / "conf.d" / "s1.yaml"
    file.rename(tmp_path / "conf.d" / "t1.yaml")
    os.utime(tmp_path / "conf.d" / "s0.yaml")

    again, told = read(main)

    assert again == 0
    assert told == handover.encode(load(str(main), "lb1"))


def test_a_mistake_in_a_known_include_is_told_where_it_is(tmp_path: Path) -> None:
    main = farm(tmp_path)
    file = tmp_path / "conf.d" / "s1.yaml"
    file.write_text(file.read_text().replace("weight: 1}", "weihgt: 1}", 1))
    first, second = twice(main)

    assert first == second == load(str(main), "lb1")
    assert second.problems[0].line == 6


def test_what_is_not_yaml_is_told_again_and_again(tmp_path: Path) -> None:
    main = farm(tmp_path)
    file = tmp_path / "conf.d" / "s1.yaml"
    file.write_text(file.read_text() + "  - [\n")
    first, second = twice(main)

    assert first.problems == second.problems != ()


@pytest.mark.parametrize("spoil", ["cut", "emptied", "other bytes", "a link", "readable by all"])
def test_a_spoiled_tree_is_parsed_again(tmp_path: Path, spoil: str) -> None:
    main = farm(tmp_path)
    read(main)
    victim = kept(main)[0]
    raw = victim.read_bytes()
    if spoil == "cut":
        victim.write_bytes(raw[:-9])
    elif spoil == "emptied":
        victim.write_bytes(b"")
    elif spoil == "other bytes":
        victim.write_bytes(raw[:100] + b"!" + raw[101:])
    elif spoil == "a link":
        victim.rename(tmp_path / "elsewhere")
        victim.symlink_to(tmp_path / "elsewhere")
    else:
        victim.chmod(0o644)

    again, told = read(main)

    assert again == 1
    assert told == handover.encode(load(str(main), "lb1"))
    assert read(main)[0] == 0, "it is mended"


def test_a_folder_that_others_may_write_in_is_not_used(tmp_path: Path) -> None:
    main = farm(tmp_path)
    (tmp_path / "parsed").mkdir()
    (tmp_path / "parsed").chmod(0o777)

    read(main)

    assert kept(main) == []


def test_all_that_is_kept_is_its_owners_alone(tmp_path: Path) -> None:
    main = farm(tmp_path)
    read(main)

    for path in (tmp_path / "parsed", *kept(main)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_a_runtime_directory_that_is_not_there_costs_nothing_but_time(tmp_path: Path) -> None:
    main = farm(tmp_path)

    loaded = load(str(main), "lb1", parse=Parsed("/nonexistent/parsed").parse)

    assert loaded == load(str(main), "lb1")


word = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=8)
values = st.recursive(
    st.one_of(word, st.integers(), st.none()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(word, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
def test_any_tree_comes_back_as_it_was_parsed(tmp_path: Path, value: object) -> None:
    text = yaml.safe_dump({"all": value}, allow_unicode=True) + "# long\n" * 1200
    expected = yaml_tree.parse(text, "main.yaml", Problems())
    first = Parsed()
    trees = [first.parse(text, "main.yaml", Problems())]
    first.keep(f"{tmp_path}/parsed")
    second = Parsed(f"{tmp_path}/parsed")
    trees.append(second.parse(text, "main.yaml", Problems()))

    assert second.again == 0
    assert trees == [expected, expected]
