"""Our part of the `kedro` command: own commands, a `run` of our own, and one sentence for a mistake of the user."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from typing import Any, Final

import click
from kedro.framework.cli import project
from kedro.framework.cli.hooks import cli_hook_impl
from kedro.framework.cli.utils import KedroCliError
from kedro.framework.startup import ProjectMetadata
from kedro.io import DatasetError

from xview2_siamese_unet.cli.assess import assess
from xview2_siamese_unet.cli.command import ProjectCommand
from xview2_siamese_unet.cli.doctor import doctor
from xview2_siamese_unet.cli.events import leave_events_out
from xview2_siamese_unet.cli.experiment import experiment
from xview2_siamese_unet.cli.score import compare, score
from xview2_siamese_unet.cli.slurm import slurm
from xview2_siamese_unet.environments import use_logging
from xview2_siamese_unet.errors import WINDOWS, ConfigError, cause_of, chain
from xview2_siamese_unet.training.distributed import get_world_size

if sys.platform == "win32":
    raise SystemExit(WINDOWS)

_SHARED_OUT: Final = "modelling"
"""The pipeline that several processes share."""
_REFUSING: Final = (
    "kedro.framework.",
    "kedro.io.data_catalog",
    "kedro.pipeline.pipeline",
    "kedro.runner.",
    "kedro.utils",
)
"""Modules of Kedro that raise before anything runs, in a sentence: names and options that do not exist."""
_MAKERS: Final = {"04": "feature_statistics", "06": "modelling", "07": "reporting", "08": "reporting"}
"""Number of a layer → the pipeline that makes it; data_processing makes the others."""


@click.group(name="xview2_siamese_unet")
def cli() -> None:
    """Commands of this project."""


def _run(**options: Any) -> Any:  # noqa: ANN401
    """Run as Kedro does, but for options that would fail hours later, or do nothing without a word."""
    if options["is_async"]:
        raise ConfigError("--async does not work with nodes that yield their results.", hint="Leave it out.")
    if options["load_versions"]:
        raise ConfigError("--load-versions has nothing to choose: no dataset is versioned.", hint="Leave it out.")
    world = get_world_size()
    if world > 1 and {*(options["pipelines"] or ()), options["pipeline"]} - {None} != {_SHARED_OUT}:
        raise ConfigError(
            f"torchrun launched {world} processes, which share {_SHARED_OUT} alone.",
            hint="Run kedro run --pipelines data_processing,feature_statistics, then torchrun with "
            f"-m kedro run --pipelines {_SHARED_OUT}, then kedro run --pipelines reporting.",
        )
    return click.get_current_context().invoke(project.run, **options)


run = ProjectCommand("run", callback=_run, params=list(project.run.params), help=project.run.help)
for command in (assess, compare, doctor, experiment, leave_events_out, run, score, slurm):
    cli.add_command(command)


class CommandHooks:
    """What happens around each command of `kedro`, those of Kedro and of plugins included."""

    @cli_hook_impl
    def before_command_run(self, project_metadata: ProjectMetadata | None) -> None:
        """Log as the project says, also in the folders below it."""
        if project_metadata is not None and project_metadata.package_name == __package__:
            use_logging(project_metadata.project_path)

    @cli_hook_impl
    def after_command_run(self) -> None:
        """End a command that failed in one sentence, if it was a mistake of the user; Kedro is handling its error."""
        end_in_one_sentence(sys.exc_info()[1])


def end_in_one_sentence(error: BaseException | None) -> None:
    """Print a sentence for what the user can mend and exit with 1.

    Nothing happens for every other error, and for all of them under `--verbose` or with our logger at DEBUG.
    """
    verbose = KedroCliError.VERBOSE_ERROR or logging.getLogger(__package__).isEnabledFor(logging.DEBUG)
    if isinstance(error, Exception) and not verbose and (sentence := sentence_of(error)):
        click.secho(sentence, err=True, fg="red")
        raise SystemExit(1)


def sentence_of(error: Exception) -> str | None:
    """Return what the user can mend about an error, `None` for a defect."""
    if ours := cause_of(error):
        return str(ours)
    missing = next((link for link in chain(error) if isinstance(link, FileNotFoundError) and link.filename), None)
    if isinstance(error, DatasetError) and missing is not None:
        layer = re.search(r"/(0[1-8])_", str(missing.filename))
        maker = _MAKERS.get(layer[1] if layer else "", "data_processing")
        return f"{missing.filename} does not exist. Run kedro run --pipelines {maker} first, or together with this."
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    refused = str(frame.f_globals.get("__name__")).startswith(_REFUSING)
    return " ".join(str(error).split()) if refused else None


hooks = CommandHooks()
"""What `kedro.cli_hooks` in pyproject.toml names."""
