"""These tests need some twenty packages: they run when asked for, by tests/real_servers/run."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.core.keys import FileText
from tests.shell.authority import Authority


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked = "real_servers" in str(config.option.markexpr)
    return None if asked or collection_path.name == "conftest.py" else True


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.real_servers)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def ca(authority: Authority) -> dict[str, FileText]:
    """The files of checks that name /ca."""
    return {"/ca": FileText(authority.file.read_bytes())}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that servers may enter whatever user they become: pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="hadirector-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
