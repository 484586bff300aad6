"""Wheels of this project, built and installed by uv."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from importlib.util import source_from_cache
from pathlib import Path

import pytest

_NO_INDEX = re.compile("fetch|connect|network", re.IGNORECASE)


def call_uv(*args: str | Path) -> None:
    """Run uv; skip the test if no package index can be reached."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv to build the wheel")
    check_done(subprocess.run([uv, *args], capture_output=True, text=True, check=False))  # noqa: S603


def check_done(done: subprocess.CompletedProcess[str]) -> None:
    """Assert that a command succeeded; skip the test if no package index can be reached."""
    if done.returncode and _NO_INDEX.search(done.stderr):
        pytest.skip("needs a package index for what the wheel is built with or depends on")
    assert done.returncode == 0, done.stderr


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the wheel of a folder with a pyproject.toml into another folder."""
    call_uv("build", "--wheel", "--out-dir", folder, project)
    return next(folder.glob("*.whl"))


def install_wheel(project: Path, folder: Path) -> Path:
    """Build a wheel and install it into an empty environment, with the versions of this one; return its interpreter."""
    constraints, settings = folder / "constraints.txt", Path(__file__).parents[1] / "pyproject.toml"
    pins = {f"{each.name}=={each.version}" for each in distributions() if each.name != "xview2-siamese-unet"}
    constraints.write_text("\n".join(sorted(pins)))
    newest = tomllib.loads(settings.read_text(encoding="utf-8"))["tool"]["uv"]["exclude-newer"]
    call_uv("venv", "--python", sys.executable, folder / "env")
    python = folder / "env" / "bin" / "python"
    options = ("--python", python, "--constraints", constraints, "--exclude-newer", newest)
    call_uv("pip", "install", *options, build_wheel(project, folder))
    share_bytecode(next(python.parents[1].glob("lib/python*/site-packages")))
    return python


def share_bytecode(packages: Path) -> None:
    """Link this environment's bytecode of identical files, because compiling takes longer than a test.

    Python uses bytecode only if the source file has the same size and modification time.
    """
    for ours in (Path(pytest.__file__).parents[1], Path(__file__).parents[1] / "src"):
        for path in ours.rglob(f"*.{sys.implementation.cache_tag}.pyc"):
            source, link = Path(source_from_cache(str(path))), packages / path.relative_to(ours)
            theirs = packages / source.relative_to(ours)
            if link.exists() or not (source.exists() and theirs.exists() and filecmp.cmp(source, theirs)):
                continue
            os.utime(theirs, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
            link.parent.mkdir(exist_ok=True)
            try:
                os.link(path, link)
            except OSError:  # on another file system
                shutil.copy2(path, link)
