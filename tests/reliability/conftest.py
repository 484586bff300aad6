"""Fixtures of small and read-only disks, and of a configuration with its storage there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]

MakeConf = Callable[..., Path]


def _run(*command: str) -> str:
    """Run a command; return its error message, or an empty string if it succeeds."""
    if shutil.which(command[0]) is None:
        return f"no {command[0]}"
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount 4 MiB of memory; skip if that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if error := _run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)):
        pytest.skip(f"needs permission to mount a disk: {error}")
    yield folder
    # -l, because torch keeps a file that it could not finish open until it is garbage-collected.
    assert not _run("umount", "-l", str(folder))


@pytest.fixture
def read_only_disk(small_disk: Path) -> Path:
    """A disk that nobody may write to, not even root; skipped like `small_disk`."""
    assert not _run("mount", "-o", "remount,ro", str(small_disk))
    return small_disk


@pytest.fixture
def make_conf(tmp_path: Path) -> MakeConf:
    """Copy the configuration, with storage and parameters as overrides in conf/local; return its folder."""

    def make(storage: Path, **parameters: Any) -> Path:  # noqa: ANN401
        conf = tmp_path / "conf"
        shutil.copytree(PROJECT / "conf", conf)
        (conf / "local").mkdir(exist_ok=True)
        (conf / "local" / "globals.yml").write_text(yaml.safe_dump({"storage": str(storage)}))
        (conf / "local" / "parameters.yml").write_text(yaml.safe_dump(parameters))
        return conf

    return make
