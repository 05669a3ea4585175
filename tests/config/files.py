"""Configurations as text: written to a file, loaded, and what was told of them."""

from pathlib import Path

from hadirector.config.handover import Loaded
from hadirector.config.load import load
from hadirector.core.settings.cluster import Config

CONF = Path(__file__).resolve().parents[2] / "conf"
EXAMPLE = CONF / "hadirector.example.yaml"


def load_text(folder: Path, text: str, node: str | None = None) -> Loaded:
    """What a text says to a node."""
    path = folder / "main.yaml"
    path.write_text(text, encoding="utf-8")
    return load(str(path), node, host="lb1.example.net")


def told(folder: Path, text: str, node: str | None = None) -> list[str]:
    """Every problem of a text as `LINE:COL severity: text`."""
    return [
        f"{p.line}:{p.column} {p.severity.value}: {p.text}"
        for p in load_text(folder, text, node).problems
    ]


def config_of(folder: Path, text: str, node: str | None = None) -> Config:
    """The configuration of a text without mistakes."""
    loaded = load_text(folder, text, node)
    assert loaded.config is not None, loaded.problems
    return loaded.config
