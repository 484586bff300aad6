"""`kedro slurm`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from xview2_siamese_unet.commands.slurm import slurm
from xview2_siamese_unet.errors import ConfigError


def test_a_dry_run_prints_the_command_and_the_script(project_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project_path)
    done = CliRunner().invoke(
        slurm, ["--env", "lab/002", "--nodes", "2", "--dry-run", "--params", "training.epochs=60"]
    )
    first, rest = done.output.split("\n", 1)
    assert first == "sbatch --nodes 2 slurm/train.sh lab/002 --params training.epochs=60"
    assert rest.strip() == (project_path / "slurm" / "train.sh").read_text().strip()


def test_without_slurm_it_says_so(project_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="sbatch: found no such command"):
        CliRunner().invoke(slurm, ["--env", "lab/002"], catch_exceptions=False)


def test_it_submits_what_it_prints(project_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tmp_path / "sbatch"
    stand_in.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/submitted\n')
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(project_path)
    assert CliRunner().invoke(slurm, ["--env", "lab/002"]).exit_code == 0
    assert (tmp_path / "submitted").read_text() == "--nodes 1 slurm/train.sh lab/002\n"


def test_outside_the_project_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="call this inside the project"):
        CliRunner().invoke(slurm, ["--env", "lab/002"], catch_exceptions=False)
