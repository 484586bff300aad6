"""`xview2`: the commands for images of a new disaster, in any folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

# Set before Kedro is imported, which would otherwise use and print another logging configuration.
_LOGGING: Final = [Path(__file__).parents[up] / "conf" / "logging.yml" for up in (0, 2)]  # of a wheel, of a checkout
if not Path("conf/logging.yml").is_file():
    os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(next(path for path in _LOGGING if path.is_file())))

from xview2_siamese_unet import __version__  # noqa: E402
from xview2_siamese_unet.cli import COMMANDS, exit_with_error  # noqa: E402
from xview2_siamese_unet.cli.command import IN_ANY_FOLDER, XVIEW2, CommandTable  # noqa: E402
from xview2_siamese_unet.project import configure, find_project  # noqa: E402

commands = CommandTable(
    XVIEW2,
    help="Find damaged buildings in satellite images.",
    summaries=IN_ANY_FOLDER,
    lazy_subcommands={name: COMMANDS[name] for name in IN_ANY_FOLDER},
)
click.version_option(__version__)(commands)


def main() -> None:
    """Run a command as `kedro` does inside the project."""
    try:
        configure(find_project())
        commands(prog_name=XVIEW2)
    except Exception as error:
        exit_with_error(error, XVIEW2)
        raise
