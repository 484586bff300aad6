"""Ctrl-C ends a command with 130, also where Lightning makes an exit of its own of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

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


class Interrupted(LightningModule):
    """Somebody presses Ctrl-C in its first step."""

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
    ("work", "said"),
    [
        (train, "stopped by SIGINT; the same command resumes from the last finished epoch"),
        (wait, "stopped by SIGINT"),
    ],
)
def test_a_run_that_is_stopped_says_so_and_ends_with_130(
    write_project: Callable[[dict[str, str]], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    work: Callable[[], None],
    said: str,
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
    assert [record.getMessage() for record in caplog.records if record.name.startswith("xview2")] == [said]


@pytest.mark.parametrize("code", [0, 1, 143])
def test_other_exits_keep_their_code(code: int) -> None:
    assert CliRunner().invoke(ProjectCommand("x", callback=lambda: sys.exit(code))).exit_code == code


def test_every_command_can_be_stopped_and_quietened() -> None:
    commands = [*cli.commands.values(), *experiment.commands.values()]
    assert all(isinstance(command, ProjectCommand) for command in commands if command is not experiment)
