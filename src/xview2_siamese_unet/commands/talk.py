"""How much a command says: `--quiet` and `--verbose`, the same for every one of them."""

from __future__ import annotations

import logging
from typing import Final

import click

_LOGGERS: Final = ("kedro", "xview2_siamese_unet")


def let_talk(command: click.Command) -> click.Command:
    """Give a command the options `--quiet` and `--verbose`, and all commands of a group."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            let_talk(each)
    else:
        command.params += [
            _option("--quiet", logging.WARNING, "Say what goes wrong and what came out, and show no bars."),
            _option("--verbose", logging.DEBUG, "Say everything, with the traceback of an error."),
        ]
    return command


def _option(name: str, level: int, text: str) -> click.Option:
    def callback(_context: click.Context, _option: click.Parameter, asked: bool) -> None:
        for logger in _LOGGERS if asked else ():
            logging.getLogger(logger).setLevel(level)

    return click.Option([name], is_flag=True, expose_value=False, is_eager=True, callback=callback, help=text)
