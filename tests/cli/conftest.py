"""A project for commands that read or write its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def shipped(
    write_project: Callable[[dict[str, str]], Path], project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder: a project of its own with the configuration that is shipped."""
    folder = write_project({})
    shutil.rmtree(folder / "conf")
    shutil.copytree(project_path / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    monkeypatch.chdir(folder)
    return folder
