"""`kedro score`: the official score of two folders. What a command needs is imported when it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import click

from xview2_siamese_unet.params.modelling import Unclassified

_FOLDER: Final = click.Path(path_type=Path)


@click.command()
@click.argument("predictions", type=_FOLDER)
@click.argument("targets", type=_FOLDER)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write the numbers to this JSON file."
)
@click.option("--any-size", is_flag=True, help="Take files of another size than the official 1024 × 1024 pixels.")
@click.option(
    "--unclassified",
    type=click.Choice(get_args(Unclassified)),
    default="ignore",
    show_default=True,
    help="What un-classified truth means, where the targets hold it; the official ones do not.",
)
def score(predictions: Path, targets: Path, out: Path | None, any_size: bool, unclassified: Unclassified) -> None:
    """Print the official xView2 score of two folders.

    PREDICTIONS and TARGETS are named as in the challenge, <test|hold>_<localization|damage>_<id>_prediction.png and
    ..._target.png, or as this project names them: <scene>.tif and <tier>/<scene>_<building|damage>.tif.
    """
    from xview2_siamese_unet.datasets.stamp import write_atomically  # noqa: PLC0415  pandas and rasterio are slow to import
    from xview2_siamese_unet.metrics.folders import OFFICIAL_SIDE, count_folders, is_official  # noqa: PLC0415
    from xview2_siamese_unet.metrics.summary import summarise_folders  # noqa: PLC0415

    side = OFFICIAL_SIDE if is_official(targets) and not any_size else None
    numbers = summarise_folders(count_folders(predictions, targets, side=side), unclassified)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, json.dumps(numbers, indent=2, allow_nan=False))
    click.echo(_lines(numbers))


def _lines(numbers: Mapping[str, Any]) -> str:
    bounds = numbers["intervals"].items()
    rows = (f"{key:<26} {numbers[key]:.6f}  95 %: {low:.3f} to {high:.3f}" for key, (low, high) in bounds)
    return "\n".join([f"{numbers['n_scenes']} scenes", *rows])
