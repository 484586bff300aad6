"""`kedro validate DIR` and `kedro estimate DIR --labels FILE`: a random sample, and estimates from its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

import xview2_siamese_unet as xview2
from xview2_siamese_unet.cli.command import ProjectCommand, as_called, env_option, json_option, print_json

_PATH: Final = click.Path(path_type=Path)


@click.command("validate", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--count", type=click.IntRange(min=10), help="Buildings to label; more than before enlarges the sample.")
@click.option("--zones", type=_PATH, help="Polygons, such as districts, in each of which buildings are sampled.")
@click.option("--pre", type=_PATH, help="Pre-disaster image, if it has moved since the assessment.")
@click.option("--post", type=_PATH, help="Post-disaster image, if it has moved.")
@json_option
@env_option
def validate_command(  # noqa: PLR0913  one argument an option
    folder: Path,
    *,
    count: int | None,
    zones: Path | None,
    pre: Path | None,
    post: Path | None,
    as_json: bool,
    env: str | None,
) -> None:
    """Draw a random sample of buildings, and write a page to label it on.

    DIR is the folder of an assessment, or of adapted products in it. The page, DIR/validation/label.html, shows no
    prediction. Labels of these buildings are never used for training.

    \b
    kedro validate assessment --count 200
    kedro estimate assessment --labels validation.csv
    """  # noqa: D301  click takes the escaped character
    sample_folder = xview2.validate(folder, count=count, zones=zones, env=env, pre=pre, post=post)
    page = sample_folder / "label.html"
    if as_json:
        print_json({"page": str(page), "sample": str(sample_folder / "sample.csv")})
    else:
        click.echo(as_called(f"{page}: label in a browser, export the labels, then run kedro estimate"))


@click.command("estimate", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--labels", type=_PATH, required=True, help="Labels of the validation sample.")
@click.option("--zones", type=_PATH, help="Polygons, such as districts, to estimate counts in.")
@json_option
@env_option
def estimate_command(folder: Path, *, labels: Path, zones: Path | None, as_json: bool, env: str | None) -> None:
    """Estimate how many buildings are damaged, with 95 % intervals, from labels of the validation sample.

    DIR is the folder of an assessment, or of adapted products in it; results are in DIR/validation.

    \b
    kedro estimate assessment --labels validation.csv
    kedro estimate assessment/adapted --labels validation.csv --zones districts.gpkg
    """  # noqa: D301  click takes the escaped character
    numbers = xview2.estimate(folder, labels, zones=zones, env=env)
    if as_json:
        print_json(numbers)
        return
    for sentence in numbers["sentences"]:
        click.echo(sentence)
    click.echo(f"Report: {folder / 'validation' / 'estimate.html'}")
