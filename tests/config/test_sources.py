"""Includes, digests and the hand-over."""

from pathlib import Path

import pytest

from hadirector.config import handover
from hadirector.config.load import load
from tests.config.files import EXAMPLE, config_of

MAIN = "include: [conf.d/*.yaml]\ncluster: shop\nchecks:\n  a: {type: tcp}\n"


def write(folder: Path, **files: str) -> Path:
    """Files by name without suffix; `main` is the one given, the others lie in conf.d."""
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / "main.yaml" if name == "main" else folder / "conf.d" / f"{name}.yaml"
        path.write_text(text)
    return folder / "main.yaml"


def problems(path: Path) -> list[str]:
    folder = f"{path.parent}/"
    return [str(problem).replace(folder, "") for problem in load(str(path), host="lb1").problems]


def test_mappings_of_several_files_merge(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main=MAIN,
        checks="checks:\n  b: {type: tcp}\n",
        web="virtual_services:\n  web: {address: 192.0.2.10:80, check: {all: [a, b]},"
        " real_servers: [10.0.1.1:80]}\n",
    )

    config = load(str(main), host="lb1").config

    assert config is not None
    assert [check.name for check in config.checks] == ["a", "b"]
    assert config.services[0].check.checks == ("a", "b")


def test_any_other_key_is_in_one_file_only(tmp_path: Path) -> None:
    main = write(tmp_path, main=MAIN, more="cluster: other\nchecks:\n  a: {rise: 3, type: http}\n")

    assert problems(main) == [
        "conf.d/more.yaml:1:1: error: 'cluster' is given in main.yaml:2:1 too: keep one",
        "conf.d/more.yaml:3:16: error: 'type' is given in main.yaml:4:7 too: keep one",
    ]


def test_a_mistake_is_told_in_the_file_that_has_it(tmp_path: Path) -> None:
    main = write(tmp_path, main=MAIN, more="peer: {port: 0}\n\n  x: 1\n", other="per: {}\n")

    assert problems(main) == [
        "conf.d/more.yaml:3:3: error: not YAML: did not find expected key (while parsing a block "
        "mapping): indent the line like its neighbours",
        "conf.d/other.yaml:1:1: error: unknown key 'per' (did you mean 'peer'?)",
    ]


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    main = write(tmp_path, main=MAIN, more="include: [../main.yaml]\n")

    assert problems(main) == [
        "conf.d/more.yaml:1:11: error: include: 'conf.d/../main.yaml' is the file that begins it "
        "all: name each file once"
    ]


def test_a_file_is_included_once(tmp_path: Path) -> None:
    main = write(tmp_path, main="include: [conf.d/a.yaml, conf.d/*.yaml]\n", a="cluster: a\n")

    assert problems(main) == [
        "main.yaml:1:26: error: include: 'conf.d/a.yaml' is included in main.yaml:1:11 already: "
        "name each file once"
    ]


def test_a_file_named_must_be_there_a_pattern_may_match_nothing(tmp_path: Path) -> None:
    main = write(tmp_path, main="include: [none/*.yaml, gone.yaml, conf.d]\n")

    assert problems(main) == [
        "main.yaml:1:24: error: include: 'gone.yaml' cannot be read: No such file or directory",
        "main.yaml:1:35: error: include: 'conf.d' is not a regular file",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "cluster: shop   # a comment\nchecks: {a: {rise: 2, type: tcp}}\n",
        "checks:\n  a:\n    type: 'tcp'\n    rise: 2\ncluster: \"shop\"\n",
    ],
)
def test_the_digest_is_of_the_content_not_of_its_layout(tmp_path: Path, text: str) -> None:
    same = config_of(tmp_path, "cluster: shop\nchecks: {a: {type: tcp, rise: 2}}\n").digest

    assert config_of(tmp_path, text).digest == same
    assert config_of(tmp_path, text.replace("2", "3")).digest != same


def test_the_digest_does_not_see_how_files_are_split(tmp_path: Path) -> None:
    split = load(str(write(tmp_path, main=MAIN, more="peer: {port: 1}\n")), host="lb1").config
    whole = config_of(tmp_path, "peer: {port: 1}\n" + MAIN.partition("\n")[2])

    assert split is not None
    assert split.digest == whole.digest


def test_what_is_handed_over_arrives_as_it_was() -> None:
    loaded = load(str(EXAMPLE), "lb2")

    assert handover.decode(handover.encode(loaded)) == loaded


def test_mistakes_are_handed_over_too(tmp_path: Path) -> None:
    loaded = load(str(tmp_path / "missing.yaml"))

    assert handover.decode(handover.encode(loaded)) == loaded
    assert loaded.config is None


@pytest.mark.parametrize("blob", [b"", b"{", b"[]", b'{"config": 3, "problems": []}'])
def test_other_bytes_are_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="not a loaded configuration"):
        handover.decode(blob)
