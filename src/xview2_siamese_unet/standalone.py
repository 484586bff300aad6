"""`xview2`: the commands for images of a new disaster, in any folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

# Before Kedro is imported, which would print another configuration and use it.
_LOGGING: Final = [Path(__file__).parents[up] / "conf" / "logging.yml" for up in (0, 2)]  # of a wheel, of a checkout
if not Path("conf/logging.yml").is_file():
    os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(next(path for path in _LOGGING if path.is_file())))

from kedro.framework.cli.utils import LazyGroup  # noqa: E402

from xview2_siamese_unet import __version__  # noqa: E402
from xview2_siamese_unet.cli import COMMANDS, end_in_one_sentence  # noqa: E402
from xview2_siamese_unet.cli.command import IN_ANY_FOLDER, XVIEW2  # noqa: E402
from xview2_siamese_unet.project import configure, find_project  # noqa: E402


class _Commands(LazyGroup):
    """The commands, in a table that needs no import of them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*IN_ANY_FOLDER.items()])


commands = _Commands(
    XVIEW2,
    help="Find damaged buildings in satellite images.",
    lazy_subcommands={name: COMMANDS[name] for name in IN_ANY_FOLDER},
)
click.version_option(__version__)(commands)


def main() -> None:
    """Run a command as `kedro` does inside the project."""
    try:
        configure(find_project())
        commands(prog_name=XVIEW2)
    except Exception as error:
        end_in_one_sentence(error, XVIEW2)
        raise
