"""Our part of the `kedro` command: a mistake of the user ends any command in one sentence, not in a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import click
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import KedroCliError
from kedro.utils import find_kedro_project

from xview2_siamese_unet.commands.assess import assess
from xview2_siamese_unet.commands.doctor import doctor
from xview2_siamese_unet.commands.events import leave_events_out
from xview2_siamese_unet.commands.experiment import experiment
from xview2_siamese_unet.commands.score import compare, score
from xview2_siamese_unet.commands.slurm import slurm
from xview2_siamese_unet.commands.stop import let_stop
from xview2_siamese_unet.commands.talk import let_talk
from xview2_siamese_unet.environments import use_logging
from xview2_siamese_unet.errors import WINDOWS, cause_of

if sys.platform == "win32":
    raise SystemExit(WINDOWS)

__all__ = ["cli", "run", "say_in_one_sentence"]

ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


@click.group(name="xview2_siamese_unet")
def cli() -> None:
    """Commands of this project."""


for command in (assess, compare, doctor, experiment, leave_events_out, score, slurm):
    cli.add_command(let_stop(let_talk(command)))
let_stop(let_talk(run))


def say_in_one_sentence(otherwise: ExceptHook) -> ExceptHook:
    """Return an `excepthook` that prints one sentence for what the user can mend; Python then exits with 1.

    Args:
        otherwise: what handles every other error, and all of them under `--verbose` or with our logger at DEBUG.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ours = cause_of(error)
        verbose = KedroCliError.VERBOSE_ERROR or logging.getLogger(__package__).isEnabledFor(logging.DEBUG)
        if ours is None or verbose:
            otherwise(kind, error, trace)
        else:
            click.secho(str(ours), err=True, fg="red")

    return hook


# Kedro imports this module before every command and lets their errors through to Python, so one hook serves the
# commands of Kedro, of plugins and of this project alike; a caller who wants the error itself still gets it.
sys.excepthook = say_in_one_sentence(sys.excepthook)
# Kedro's own way of showing a wrong option prints "NoneType: None" in place of its sentence.
KedroCliError.show = click.ClickException.show  # type: ignore[method-assign]
use_logging(find_kedro_project(Path.cwd()))
