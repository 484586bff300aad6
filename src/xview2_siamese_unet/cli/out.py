"""The option `--out` of commands that write one file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from xview2_siamese_unet.atomic import nearest_existing, require_place

Command = TypeVar("Command", bound=Callable[..., Any])


def out_option(text: str) -> Callable[[Command], Command]:
    """Return the option; a path that cannot be written to ends the command before it works.

    Args:
        text: of the help.
    """
    return click.option("--out", type=click.Path(path_type=Path), callback=_require, help=text)


def _require(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        require_place(path)
        if not os.access(nearest_existing(path.parent), os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return path
