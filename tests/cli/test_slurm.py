"""`kedro slurm`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from xview2_siamese_unet.cli.slurm import slurm
from xview2_siamese_unet.errors import ConfigError

pytestmark = pytest.mark.unix


def test_a_dry_run_prints_the_command_and_the_script(project_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project_path)
    done = CliRunner().invoke(
        slurm, ["--env", "default/strong", "--nodes", "2", "--dry-run", "--params", "training.epochs=60"]
    )
    first, rest = done.output.split("\n", 1)
    assert first == "sbatch --nodes 2 slurm/train.sh default/strong --params training.epochs=60"
    assert rest.strip() == (project_path / "slurm" / "train.sh").read_text().strip()


def test_gpus_request_their_cpu_cores(project_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project_path)
    done = CliRunner().invoke(slurm, ["--env", "default/strong", "--gpus", "h100:4", "--dry-run"])
    assert "--gpus-per-node h100:4 --cpus-per-task 64 slurm/train.sh" in done.output
    refused = CliRunner().invoke(slurm, ["--env", "default/strong", "--gpus", "h100", "--dry-run"])
    assert refused.exit_code == 2
    assert "does not end in a number" in refused.output


def test_a_missing_sbatch_is_an_error(project_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no command sbatch"):
        CliRunner().invoke(slurm, ["--env", "default/strong"], catch_exceptions=False)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that writes a shell script to run instead of sbatch."""

    def write(lines: str) -> None:
        script = tmp_path / "sbatch"
        script.write_text(f"#!/bin/sh\n{lines}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return write


def test_an_error_of_sbatch_keeps_its_exit_status(
    project_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[[str], None]
) -> None:
    stand_in("exit 3")
    monkeypatch.chdir(project_path)
    done = CliRunner().invoke(slurm, ["--env", "default/strong"])
    assert done.exit_code == 3
    assert isinstance(done.exception, SystemExit)
    assert done.output == ""


def test_the_printed_command_is_submitted(
    project_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand_in: Callable[[str], None]
) -> None:
    stand_in(f'echo "$@" > {tmp_path}/submitted')
    monkeypatch.chdir(project_path)
    assert CliRunner().invoke(slurm, ["--env", "default/strong"]).exit_code == 0
    assert (tmp_path / "submitted").read_text() == "--nodes 1 slurm/train.sh default/strong\n"


def test_a_folder_outside_the_project_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="inside the project"):
        CliRunner().invoke(slurm, ["--env", "default/strong"], catch_exceptions=False)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_unknown_environment_is_refused_before_submitting(
    project_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stand_in: Callable[[str], None],
    options: list[str],
) -> None:
    stand_in(f"touch {tmp_path}/submitted")
    monkeypatch.chdir(project_path)
    with pytest.raises(ConfigError, match="Unknown experiment 'nope'"):
        CliRunner().invoke(slurm, ["--env", "default/nope", *options], catch_exceptions=False)
    assert not (tmp_path / "submitted").exists()
