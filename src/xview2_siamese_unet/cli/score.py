"""`kedro score`: the official score of two folders of masks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import click

import xview2_siamese_unet as xview2
from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.cli.command import ProjectCommand, json_option, out_option, print_json
from xview2_siamese_unet.config.modelling import Unclassified

_FOLDER: Final = click.Path(path_type=Path)


@click.command("score", cls=ProjectCommand)
@click.argument("predictions", type=_FOLDER)
@click.argument("targets", type=_FOLDER)
@out_option("Also write the numbers to this JSON file.")
@click.option("--any-size", is_flag=True, help="Accept files of other sizes than the official 1024 × 1024 pixels.")
@click.option(
    "--unclassified",
    type=click.Choice(get_args(Unclassified)),
    default="ignore",
    show_default=True,
    help="Meaning of un-classified truth in the targets; the official ones have none.",
)
@json_option
def score_command(
    predictions: Path, targets: Path, *, out: Path | None, any_size: bool, unclassified: Unclassified, as_json: bool
) -> None:
    """Print the official xView2 score of two folders.

    PREDICTIONS and TARGETS are named as in the challenge, <test|hold>_<localization|damage>_<id>_prediction.png and
    ..._target.png, or as this project names them: <scene>.tif and <tier>/<scene>_<building|damage>.tif.

    \b
    kedro score predictions targets --out score.json
    """  # noqa: D301  click takes the escaped character
    numbers = xview2.score(predictions, targets, any_size=any_size, unclassified=unclassified)
    if out is not None:
        write_atomically(out, json.dumps(numbers, indent=2, allow_nan=False))
    if as_json:
        print_json(numbers)
    else:
        click.echo(_lines(numbers))


def _lines(numbers: Mapping[str, Any]) -> str:
    bounds = numbers["intervals"].items()
    rows = (f"{key:<26} {numbers[key]:.6f}  95 %: {low:.3f} to {high:.3f}" for key, (low, high) in bounds)
    return "\n".join([f"{numbers['n_scenes']} scenes", *rows])
