"""`kedro score` and `kedro compare`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import click

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    json_option,
    open_catalog,
    open_console,
    out_option,
    print_json,
)
from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.challenge import OFFICIAL_SIDE, count_folders, is_official
from xview2_siamese_unet.metrics.summary import summarise_folders
from xview2_siamese_unet.report import comparison
from xview2_siamese_unet.report.comparison import Experiment
from xview2_siamese_unet.runs import flatten

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
    side = OFFICIAL_SIDE if is_official(targets) and not any_size else None
    numbers = summarise_folders(count_folders(predictions, targets, side=side), unclassified)
    if out is not None:
        write_atomically(out, json.dumps(numbers, indent=2, allow_nan=False))
    if as_json:
        print_json(numbers)
    else:
        click.echo(_lines(numbers))


@click.command("compare", cls=ProjectCommand)
@click.argument("experiments", metavar="EXPERIMENT EXPERIMENT...", nargs=-1, required=True)
@out_option("Also write the comparison to this HTML file.")
@json_option
def compare_command(experiments: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
    """Compare scored experiments with the first one.

    An EXPERIMENT is <user>/<experiment>, as for --env, for its newest finished run, or <user>/<experiment>@<run>.
    Prints the settings in which the runs differ, scores with 95 % intervals, their paired differences, and the scenes
    that changed most.

    \b
    kedro compare lab/strong lab/bigger-crops --out comparison.html
    kedro compare lab/strong@2026-11-26T05.29.19.123Z lab/strong
    """  # noqa: D301  click takes the escaped character
    if len(set(experiments)) != len(experiments) or len(experiments) < 2:
        raise click.UsageError("Name two experiments or more, each once.")
    compared = comparison.compare([open_experiment(name) for name in experiments])
    if out is not None:
        write_atomically(out, comparison.render_comparison(compared))
    if as_json:
        print_json(comparison.comparison_numbers(compared))
    else:
        open_console().print(comparison.comparison_tables(compared))


def open_experiment(name: str) -> Experiment:
    """Return a scored run of an experiment, read through its own catalog.

    Args:
        name: `<user>/<experiment>` or `<user>/<experiment>@<run>`.

    Raises:
        DataError: it was not scored.
    """
    catalog, env = open_catalog(name), name.partition("@")[0]
    if absent := [needed for needed in ("run", "scene_counts", "metrics") if not catalog.exists(needed)]:
        raise DataError(f"{name} has no {', '.join(absent)}.", hint=f"Run kedro run --env {env} first.")
    unclassified, run = catalog.load("metrics")["unclassified"], catalog.load("run")
    return Experiment(name, catalog.load("scene_counts"), unclassified, flatten(run["settings"]))


def _lines(numbers: Mapping[str, Any]) -> str:
    bounds = numbers["intervals"].items()
    rows = (f"{key:<26} {numbers[key]:.6f}  95 %: {low:.3f} to {high:.3f}" for key, (low, high) in bounds)
    return "\n".join([f"{numbers['n_scenes']} scenes", *rows])
