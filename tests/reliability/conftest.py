"""A disk of a few megabytes, and the configuration of this project with its storage there."""

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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount 4 MiB of memory; skips where that is not allowed."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    asked = [str(mount), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False) if mount else None  # noqa: S603
    if done is None or done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip() if done else 'no mount'}")
    yield folder
    # -l: torch keeps a file that it could not finish open until it is collected.
    subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S603, S607


@pytest.fixture
def make_conf(tmp_path: Path) -> MakeConf:
    """Copy the configuration, with a storage and parameters as somebody's last personal word; return its folder."""

    def make(storage: Path, **parameters: Any) -> Path:  # noqa: ANN401
        conf = tmp_path / "conf"
        shutil.copytree(PROJECT / "conf", conf)
        (conf / "local").mkdir(exist_ok=True)
        (conf / "local" / "globals.yml").write_text(yaml.safe_dump({"storage": str(storage)}))
        (conf / "local" / "parameters.yml").write_text(yaml.safe_dump(parameters))
        return conf

    return make
