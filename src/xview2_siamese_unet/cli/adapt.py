"""`kedro adapt DIR --labels FILE`: run the adaptation pipeline on an assessment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

import xview2_siamese_unet as xview2
from xview2_siamese_unet.cli.command import ProjectCommand, env_option, features_option, json_option, print_json

_PATH: Final = click.Path(path_type=Path)


@click.command("adapt", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--labels", type=_PATH, multiple=True, help="File of labels, from kedro label, QGIS or a spreadsheet.")
@click.option("--head", type=_PATH, help="head.safetensors of another folder of the same event, in place of labels.")
@features_option("package")
@click.option("--zones", type=_PATH, help="Polygons, such as districts, to count buildings by.")
@click.option("--pre", type=_PATH, help="Pre-disaster image, if it has moved since the assessment.")
@click.option("--post", type=_PATH, help="Post-disaster image, if it has moved.")
@json_option
@env_option
def adapt_command(
    folder: Path,
    *,
    labels: tuple[Path, ...],
    as_json: bool,
    env: str | None,
    **adaptation: Any,  # noqa: ANN401
) -> None:
    """Assess the buildings of an assessment again, with a head fitted on labels of this event.

    DIR is the folder of an assessment, which stays as it is: the products go to DIR/adapted. A few dozen labels of two
    classes are enough to begin with.

    \b
    kedro adapt assessment --labels labels.csv
    kedro adapt neighbouring --head assessment/adapted/head.safetensors
    """  # noqa: D301  click takes the escaped character
    options = {key: value for key, value in adaptation.items() if value not in (None, ())}
    adapted = xview2.adapt(folder, labels, env=env, **options)
    if as_json:
        print_json(adapted.record)
    else:
        click.echo(f"{adapted.folder}: {', '.join(adapted.record['products'])}")
