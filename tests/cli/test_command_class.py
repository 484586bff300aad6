"""Ctrl-C, exit status and `--out` of every command."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Node, Pipeline
from lightning import LightningModule, Trainer
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader

from xview2_siamese_unet.cli import cli, run
from xview2_siamese_unet.cli.command import ProjectCommand
from xview2_siamese_unet.cli.experiment import experiment
from xview2_siamese_unet.errors import StorageError, cause_of


class Interrupted(LightningModule):
    """A model whose first training step is interrupted by Ctrl-C."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor) -> Tensor:
        raise KeyboardInterrupt

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.SGD(self.parameters(), 0.1)


def train() -> None:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    Trainer(max_epochs=1, enable_model_summary=False, **quiet).fit(Interrupted(), DataLoader([1.0]))


def wait() -> None:
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("work", "message"),
    [
        (train, "stopped by SIGINT; the same command resumes from the last finished epoch"),
        (wait, "stopped by SIGINT"),
    ],
)
def test_a_stopped_run_exits_with_130(
    write_project: Callable[[dict[str, str]], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    work: Callable[[], None],
    message: str,
) -> None:
    project = write_project({})
    monkeypatch.chdir(project)
    # Lightning turns SIGINT off for the rest of the process.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    toy = {"__default__": Pipeline([Node(work, None, "x", name="work")])}
    monkeypatch.setattr("xview2_siamese_unet.pipeline_registry.register_pipelines", lambda: toy)
    bootstrap_project(project)
    with caplog.at_level(logging.WARNING, "xview2_siamese_unet"):
        done = CliRunner().invoke(run, [])
    assert done.exit_code == 130, done.output
    assert [record.getMessage() for record in caplog.records if record.name.startswith("xview2")] == [message]


@pytest.mark.parametrize("code", [0, 1, 143])
def test_other_exits_keep_their_code(code: int) -> None:
    assert CliRunner().invoke(ProjectCommand("x", callback=lambda: sys.exit(code))).exit_code == code


def test_every_command_is_a_project_command() -> None:
    commands = [*cli.commands.values(), *experiment.commands.values()]
    assert all(isinstance(command, ProjectCommand) for command in commands if command is not experiment)


COMMANDS = (["score", "predictions", "targets"], ["compare", "a/1", "b/2"], ["leave-events-out", "socal-fire"])
"""Their inputs do not exist, so that an accepted `--out` would end in another error."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "README.md").write_text("text")
    (tmp_path / "docs").mkdir()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(command: list[str], out: str) -> str:
    done = CliRunner().invoke(cli, [*command, "--out", out])
    assert done.exit_code == 1
    assert done.exception is not None
    error = cause_of(done.exception)
    assert isinstance(error, StorageError), done.exception
    return str(error)


@pytest.mark.unix
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("README.md/x.html", "README.md/x.html: a path below README.md, which is not a folder"),
        ("README.md/new/x.html", "README.md/new/x.html: a path below README.md, which is not a folder"),
        ("", ".: a folder"),
        ("docs", "docs: a folder"),
        ("pipe", "pipe: a device or the like"),
        ("x" * 300, f"{'x' * 300}: file name too long"),
    ],
)
def test_a_path_that_cannot_be_a_file_is_refused_first(
    folder: Path, command: list[str], out: str, sentence: str
) -> None:
    before = {path: path.stat().st_mode for path in folder.rglob("*")}
    assert refusal(command, out).startswith(f"{sentence}. Choose another path.")
    assert {path: path.stat().st_mode for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("folder")
def test_a_folder_without_the_right_to_write_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path) == Path("docs")))
    for command in COMMANDS:
        assert refusal(command, "docs/new/x.html").startswith("docs/new/x.html: permission denied.")


@pytest.mark.parametrize(("encoding", "printed"), [("utf-8", "3 × 4 → 数"), ("cp1252", "3 × 4 \\u2192 \\u6570")])
def test_characters_outside_the_code_page_are_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str, printed: str
) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", stdout)
    ProjectCommand("say", callback=lambda: click.echo("3 × 4 → 数")).main([], standalone_mode=False)
    stdout.flush()
    assert stdout.buffer.getvalue().decode(encoding) == f"{printed}\n"  # type: ignore[attr-defined]
