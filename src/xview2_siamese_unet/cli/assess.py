"""`kedro assess` runs the inference pipeline on two images, `kedro check` validates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

import xview2_siamese_unet as xview2
from xview2_siamese_unet.cli.command import ProjectCommand, Refused, as_called, env_option, json_option, print_json
from xview2_siamese_unet.errors import ProjectError
from xview2_siamese_unet.inference.building_formats import FORMATS

_PATH: Final = click.Path(path_type=Path)
_INPUTS: Final = {"pre", "post", "footprints", "aoi", "masks", "zones", "env"}


@click.command("assess", cls=ProjectCommand)
@click.argument("pre", type=_PATH)
@click.argument("post", type=_PATH)
@click.option("--out", type=_PATH, help="Folder of the products.")
@click.option(
    "--model",
    type=_PATH,
    help="File of a checkpoint, a model card (.yml, or the .onnx next to it), or a run: RUN of --env, USER/EXPERIMENT "
    "or USER/EXPERIMENT@RUN; none prepares the folder for kedro label. Default: the newest finished run of --env.",
)
@click.option(
    "--footprints",
    type=_PATH,
    help="Building footprints; name a layer as 'FILE|layername=NAME'. Default: the model's own outlines.",
)
@click.option("--aoi", type=_PATH, help="Area of interest: polygons outside of which nothing is assessed.")
@click.option(
    "--mask",
    "masks",
    type=_PATH,
    multiple=True,
    help="Cloud mask of the vendor: polygons of clouds, or a usable-data mask (UDM2). May be repeated.",
)
@click.option("--zones", type=_PATH, help="Polygons, such as districts, to count buildings by.")
@click.option(
    "--format", "formats", type=click.Choice([*FORMATS]), multiple=True, help="Also write the buildings as this."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing assessment in the folder; other files stay.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Device to run on.")
@click.option("--check", is_flag=True, help="Do the same as kedro check, and exit.")
@json_option
@env_option
def assess_command(
    *,
    check: bool,
    device: str | None,
    as_json: bool,
    env: str | None,
    **inference: Any,  # noqa: ANN401
) -> None:
    """Find damaged buildings by comparing a pre-disaster image PRE with a post-disaster image POST.

    Each is a GeoTIFF, a VRT or a folder of GeoTIFF tiles, in any coordinate reference system. The same as `kedro run
    --pipelines inference` with these paths as parameters. Exits with status 2 and a one-line error if the images cannot
    be assessed. Without a pre-disaster image, PRE is none.

    \b
    kedro assess before.tif after.tif --out assessment
    kedro assess none after.tif --out assessment --footprints buildings.gpkg --model none
    kedro assess before.tif after.tif --out assessment --footprints buildings.gpkg --env lab/strong
    """  # noqa: D301  click takes the escaped character
    if not check and inference["out"] is None:
        raise click.UsageError("Missing option '--out'; only --check works without it.")
    options = {key: value for key, value in inference.items() if value not in (None, False, ())}
    try:
        result = xview2.look(**options, env=env) if check else xview2.assess(**options, env=env, device=device).record
    except ProjectError as error:
        raise Refused(as_called(str(error))) from error
    if check or as_json:
        print_json(result)


@click.command("check", cls=ProjectCommand, params=[each for each in assess_command.params if each.name in _INPUTS])
def check_command(**inputs: Any) -> None:  # noqa: ANN401
    """Validate the inputs of an assessment, and print grid, shift between the images and warnings as JSON.

    Writes nothing. Exits with status 2 and a one-line error if the images cannot be assessed.

    \b
    kedro check before.tif after.tif --footprints buildings.gpkg
    """  # noqa: D301  click takes the escaped character
    click.get_current_context().invoke(assess_command, check=True, **inputs)
