"""Shared parts of all commands: verbosity, Ctrl-C, --out, --json, console, project and configuration."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from kedro.framework.cli.utils import KedroCliError, LazyGroup
from kedro.io import CatalogProtocol
from rich.console import Console

from xview2_siamese_unet.atomic import nearest_existing, require_file_path
from xview2_siamese_unet.config_loader import PACKAGED, UserExperimentConfigLoader
from xview2_siamese_unet.project import find_project, open_session
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

Command = TypeVar("Command", bound=Callable[..., Any])
STOPPED: Final = 128 + signal.SIGINT
"""Exit status of a command that SIGINT ended, as shells and schedulers expect."""
XVIEW2: Final = "xview2"
"""The program that runs commands in any folder; in a project, `kedro` does."""
IN_ANY_FOLDER: Final = {
    "assess": "Find damaged buildings in a pair of images.",
    "check": "Validate the inputs of an assessment.",
    "label": "Write a page to label buildings on.",
    "adapt": "Assess again with a head fitted on labels.",
    "validate": "Draw a sample of buildings to label.",
    "estimate": "Estimate counts with intervals from its labels.",
    "campaign": "Assess a whole disaster in many scenes.",
    "score": "Print the official xView2 score of predicted masks.",
    "model": "List, combine, export, score and verify models.",
    "doctor": "Check the machine and the configuration.",
}
"""Name → summary of each command of `xview2`."""
_SHARED: Final = re.compile(rf"\bkedro(?=\s+(?:{'|'.join(IN_ANY_FOLDER)})\b)")
_OTHER: Final = re.compile(r"\bkedro [a-z]")
_LOGGERS: Final = ("kedro", "xview2_siamese_unet")
_WIDTH: Final = 1000
_log = logging.getLogger(__name__)


class ProjectCommand(click.Command):
    """A command with `--quiet` and `--verbose`; Ctrl-C ends it with status 130."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self.params += [
            _level("--quiet", logging.WARNING, "Show only warnings and results; no progress bars."),
            _level("--verbose", logging.DEBUG, "Show everything, with the traceback of an error."),
        ]

    def make_context(self, *args: Any, **options: Any) -> click.Context:  # noqa: ANN401
        """Parse the options."""
        try:
            return super().make_context(*args, **options)
        except KedroCliError as error:
            # Kedro's own class prints "NoneType: None" in place of the sentence.
            raise click.ClickException(error.message) from error

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, with the name of the program that was called."""
        text = super().get_help(ctx)
        return _SHARED.sub(XVIEW2, text) if ctx.find_root().info_name == XVIEW2 else text

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command."""
        if isinstance(sys.stdout, TextIOWrapper):
            # As for stderr: code pages of Windows lack most characters.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _log.warning("stopped by SIGINT")
            raise SystemExit(STOPPED) from stop
        except SystemExit as end:
            # Lightning turns Ctrl-C in training into an exit with 1, which looks like a failure.
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            _log.warning("stopped by SIGINT; the same command resumes from the last finished epoch")
            raise SystemExit(STOPPED) from end


class CommandTable(LazyGroup):
    """Commands that are imported when they are called, but not for the help of the group.

    Args:
        summaries: name → summary of each command.
    """

    def __init__(self, *args: Any, summaries: Mapping[str, str], **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._summaries = summaries

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*self._summaries.items()])


def as_called(text: str, program: str | None = None) -> str:
    """Return a message with the commands as the user has to type them.

    Args:
        text: message with commands of `kedro`.
        program: name of the program; `None`: that of the current command.
    """
    if program is None and (context := click.get_current_context(silent=True)):
        program = context.find_root().info_name
    if program != XVIEW2:
        return text
    text = _SHARED.sub(XVIEW2, text)
    if _OTHER.search(text) and find_project().conf == PACKAGED:
        return f"{text.removesuffix('.')}. The command kedro works only in a clone of the project."
    return text


class Refused(click.ClickException):
    """Inputs that cannot be assessed."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ANN401
        """Print the sentence without the word Error, as other commands do."""
        click.secho(self.message, file=file, err=True, fg="red")


def _level(name: str, level: int, text: str) -> click.Option:
    def callback(_context: click.Context, _option: click.Parameter, asked: bool) -> None:
        for logger in _LOGGERS if asked else ():
            logging.getLogger(logger).setLevel(level)

    return click.Option([name], is_flag=True, expose_value=False, is_eager=True, callback=callback, help=text)


env_option: Final = click.option(
    "--env", "-e", help="User and experiment, such as lab/002. Default: KEDRO_ENV or default/quickstart."
)


def features_option(default: str) -> Callable[[Command], Command]:
    """Return the option `--features`."""
    text = "Source of features: package, random, a checkpoint, or a model of timm; repeat it for several. Default: "
    return click.option("--features", multiple=True, help=f"{text}{default}.")


json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def print_json(result: object) -> None:
    """Print a result on standard output, which then holds nothing else: messages go to standard error."""
    click.echo(json.dumps(result, indent=2, allow_nan=False))


def out_option(text: str) -> Callable[[Command], Command]:
    """Return the option `--out`, which refuses an unwritable path before any work."""
    return click.option("--out", type=click.Path(path_type=Path), callback=_require_writable, help=text)


def _require_writable(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        require_file_path(path)
        if not os.access(nearest_existing(path.parent), os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return path


def open_console() -> Console:
    """Return a console as wide as the terminal, or without a terminal wide enough for every name."""
    fits = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if fits else Console(width=_WIDTH)


def open_configuration(env: str | None) -> UserExperimentConfigLoader:
    """Return the configuration of `<user>/<experiment>`, by default of KEDRO_ENV.

    Its catalog names the files of the newest finished run, or of the run after an `@`.
    """
    chosen, _, run = (env or os.environ.get("KEDRO_ENV") or "").partition("@")
    params = {"run": run} if run else None
    folder, conf = find_project()
    loader = UserExperimentConfigLoader(str(conf), env=chosen or None, runtime_params=params, **CONFIG_LOADER_ARGS)
    loader.project = folder
    return loader


def open_catalog(name: str) -> CatalogProtocol[Any, Any]:
    """Return the catalog of `<user>/<experiment>`, with the newest run or the run after an `@`."""
    env, _, run = name.partition("@")
    with open_session(env, {"run": run} if run else None) as session:
        catalog: CatalogProtocol[Any, Any] = session.load_context().catalog
    return catalog


def find_path(loader: UserExperimentConfigLoader, dataset: str) -> Path:
    """Return the path of a dataset of the catalog."""
    entry: dict[str, Any] = loader["catalog"][dataset]
    return find_project().folder / Path(entry["filepath"])
