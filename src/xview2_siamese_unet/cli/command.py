"""What the commands of this project have in common: how much they say, and how Ctrl-C ends them."""

from __future__ import annotations

import logging
import signal
from typing import Any, Final

import click
from kedro.framework.cli.utils import KedroCliError

STOPPED: Final = 128 + signal.SIGINT
_LOGGERS: Final = ("kedro", "xview2_siamese_unet")
_log = logging.getLogger(__name__)


class ProjectCommand(click.Command):
    """A command with `--quiet` and `--verbose`; Ctrl-C ends it with 130, the code that shells and schedulers know."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self.params += [
            _level("--quiet", logging.WARNING, "Show only warnings and results; no progress bars."),
            _level("--verbose", logging.DEBUG, "Show everything, with the traceback of an error."),
        ]

    def make_context(self, *args: Any, **options: Any) -> click.Context:  # noqa: ANN401
        """Parse the options as click does."""
        try:
            return super().make_context(*args, **options)
        except KedroCliError as error:
            # Kedro's own class prints "NoneType: None" in place of the sentence.
            raise click.ClickException(error.message) from error

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command as click does."""
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


def _level(name: str, level: int, text: str) -> click.Option:
    def callback(_context: click.Context, _option: click.Parameter, asked: bool) -> None:
        for logger in _LOGGERS if asked else ():
            logging.getLogger(logger).setLevel(level)

    return click.Option([name], is_flag=True, expose_value=False, is_eager=True, callback=callback, help=text)
