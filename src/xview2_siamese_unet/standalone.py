"""`xview2`: the commands for images of a new disaster, in any folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import click

# Before Kedro is imported, which would print another configuration and use it.
_LOGGING: Final = [Path(__file__).parents[up] / "conf" / "logging.yml" for up in (0, 2)]  # of a wheel, of a checkout
if not Path("conf/logging.yml").is_file():
    os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(next(path for path in _LOGGING if path.is_file())))

from kedro.framework.cli.utils import LazyGroup  # noqa: E402

from xview2_siamese_unet import __version__  # noqa: E402
from xview2_siamese_unet.cli import COMMANDS, end_in_one_sentence  # noqa: E402
from xview2_siamese_unet.cli.command import Refused  # noqa: E402
from xview2_siamese_unet.project import configure, find_project  # noqa: E402

_NAMES: Final = {
    "assess": "Find damaged buildings between two images.",
    "label": "Write a page to label buildings on.",
    "adapt": "Assess again with a head fitted on labels.",
    "validate": "Draw a sample of buildings to label.",
    "estimate": "Estimate counts with intervals from its labels.",
    "campaign": "Assess a disaster that was seen in many scenes.",
    "score": "Print the official xView2 score of predicted masks.",
    "model": "List, combine, export, score and verify models.",
    "doctor": "Check the machine and the configuration.",
}
"""Name → what it does, of each command."""
_KEDRO: Final = re.compile(rf"\bkedro (?=(?:{'|'.join(_NAMES)})\b)")


class _Commands(LazyGroup):
    """The commands, whose help says how they are called here."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        command = super().get_command(ctx, cmd_name) if cmd_name in _NAMES else None
        for each in [command, *getattr(command, "commands", {}).values()]:
            if each is not None:
                each.help = _spoken(each.help or "")
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run a command."""
        try:
            return super().invoke(ctx)
        except Refused as error:
            raise Refused(_spoken(error.message)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*_NAMES.items()])


def _spoken(text: str) -> str:
    return _KEDRO.sub("xview2 ", text)


commands = _Commands(
    "xview2",
    help="Find damaged buildings in satellite images.",
    lazy_subcommands={name: COMMANDS[name] for name in _NAMES},
)
click.version_option(__version__)(commands)


def main() -> None:
    """Run a command as `kedro` does inside the project."""
    try:
        configure(find_project())
        commands(prog_name="xview2")
    except Exception as error:
        end_in_one_sentence(error, _spoken)
        raise
