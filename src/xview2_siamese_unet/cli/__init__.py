"""Commands of the project for `kedro`, and one-line messages for errors."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from typing import Any, Final

import click
from kedro.framework.cli.hooks import cli_hook_impl
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError, LazyGroup
from kedro.framework.startup import ProjectMetadata
from kedro.io import DatasetError

from xview2_siamese_unet.cli.command import ProjectCommand, as_called
from xview2_siamese_unet.config_loader import use_logging
from xview2_siamese_unet.errors import ConfigError, cause_of, chain
from xview2_siamese_unet.training.distributed import get_world_size

_PACKAGE: Final = "xview2_siamese_unet"
COMMANDS: Final = {
    "adapt": f"{__name__}.adapt.adapt_command",
    "assess": f"{__name__}.assess.assess_command",
    "campaign": f"{__name__}.campaign.campaign",
    "check": f"{__name__}.assess.check_command",
    "compare": f"{__name__}.compare.compare_command",
    "cross-validate": f"{__name__}.cross_validate.cross_validate",
    "doctor": f"{__name__}.doctor.doctor",
    "estimate": f"{__name__}.validate.estimate_command",
    "experiment": f"{__name__}.experiment.experiment",
    "label": f"{__name__}.label.label_command",
    "leave-events-out": f"{__name__}.leave_events_out.leave_events_out",
    "model": f"{__name__}.model.model",
    "score": f"{__name__}.score.score_command",
    "slurm": f"{__name__}.slurm.slurm",
    "validate": f"{__name__}.validate.validate_command",
}
"""Commands that are imported when they are called, because pandas and GDAL are slow to import."""
_DISTRIBUTED: Final = "modelling"
"""The only pipeline that runs in several processes."""
_CHECKING: Final = (
    "kedro.framework.",
    "kedro.io.data_catalog",
    "kedro.pipeline.pipeline",
    "kedro.runner.",
    "kedro.utils",
)
"""Modules of Kedro whose errors, raised before anything runs, name options and names that do not exist."""
_MAKERS: Final = {"04": "feature_statistics", "06": "modelling", "07": "reporting", "08": "reporting"}
"""Number of a layer → the pipeline that writes it; data_processing writes the others."""


def _run(**options: Any) -> Any:  # noqa: ANN401
    """Run as Kedro does, but refuse options that would fail later or do nothing."""
    if options["is_async"]:
        raise ConfigError("--async does not work with generator nodes.", hint="Leave it out.")
    if options["load_versions"]:
        raise ConfigError("--load-versions has no effect: no dataset is versioned.", hint="Leave it out.")
    world = get_world_size()
    if world > 1 and {*(options["pipelines"] or ()), options["pipeline"]} - {None} != {_DISTRIBUTED}:
        raise ConfigError(
            f"torchrun launched {world} processes, but only {_DISTRIBUTED} runs in several.",
            hint="Run kedro run --pipelines data_processing,feature_statistics, then torchrun with "
            f"-m kedro run --pipelines {_DISTRIBUTED}, then kedro run --pipelines reporting.",
        )
    return click.get_current_context().invoke(kedro_run, **options)


run = ProjectCommand("run", callback=_run, params=list(kedro_run.params), help=kedro_run.help)
cli = LazyGroup(_PACKAGE, help="Commands of this project.", lazy_subcommands=COMMANDS)
cli.add_command(run)


class CommandHooks:
    """Hooks around each command of `kedro`, including those of Kedro and of plugins."""

    @cli_hook_impl
    def before_command_run(self, project_metadata: ProjectMetadata | None) -> None:
        """Use the project's logging configuration, also in the folders below it."""
        if project_metadata is not None and project_metadata.package_name == _PACKAGE:
            use_logging(project_metadata.project_path)

    @cli_hook_impl
    def after_command_run(self) -> None:
        """End a failed command with a one-line message if the user can correct the error."""
        exit_with_error(sys.exc_info()[1])  # the error that Kedro handles


def exit_with_error(error: BaseException | None, program: str = "kedro") -> None:
    """Print a one-line message for an error that the user can correct, and exit with status 1.

    Return for any other error, and for all of them under `--verbose` or with our logger at DEBUG.

    Args:
        error: of a command.
        program: name of the program that the user called.
    """
    verbose = KedroCliError.VERBOSE_ERROR or logging.getLogger(_PACKAGE).isEnabledFor(logging.DEBUG)
    if isinstance(error, Exception) and not verbose and (sentence := sentence_of(error)):
        click.secho(as_called(sentence, program), err=True, fg="red")
        raise SystemExit(1)


def sentence_of(error: Exception) -> str | None:
    """Return the message of an error that the user can correct, `None` for a defect."""
    if ours := cause_of(error):
        return str(ours)
    missing = next((link for link in chain(error) if isinstance(link, FileNotFoundError) and link.filename), None)
    if isinstance(error, DatasetError) and missing is not None:
        layer = re.search(r"[/\\](0[1-8])_", str(missing.filename))
        maker = _MAKERS.get(layer[1] if layer else "", "data_processing")
        return f"{missing.filename} does not exist. Run kedro run --pipelines {maker} first, or together with this."
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    by_kedro = str(frame.f_globals.get("__name__")).startswith(_CHECKING)
    return " ".join(str(error).split()) if by_kedro else None


hooks = CommandHooks()
"""Named by `kedro.cli_hooks` in pyproject.toml."""
