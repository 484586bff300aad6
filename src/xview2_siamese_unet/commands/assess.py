"""`kedro assess PRE POST --out DIR`: the inference pipeline for somebody who only has two images."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.project import PACKAGE_NAME
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner
from kedro.utils import find_kedro_project

from xview2_siamese_unet.errors import cause_of

_REFUSED: Final = 2
_PATH: Final = click.Path(path_type=Path)


@click.command()
@click.argument("pre", type=_PATH)
@click.argument("post", type=_PATH)
@click.option("--out", type=_PATH, help="Folder of the products.")
@click.option("--model", type=_PATH, help="File of a checkpoint; without it the best one of the environment.")
@click.option("--footprints", type=_PATH, help="Building outlines; without them the model's own.")
@click.option("--aoi", type=_PATH, help="Polygons outside of which nothing is assessed.")
@click.option("--overwrite", is_flag=True, help="Replace an assessment that the folder holds.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), help="What computes.")
@click.option("--check", is_flag=True, help="Only look at the images and print what an assessment would work on.")
@env_option
def assess(*, check: bool, device: str | None, env: str | None, **inference: Any) -> None:  # noqa: ANN401
    """Find damaged buildings between an image PRE and an image POST of a disaster.

    Each is a GeoTIFF, a VRT or a folder of GeoTIFF tiles, in any coordinate reference system. The same as `kedro run
    --pipelines inference` with these paths as parameters. Ends with 2 where nothing could be done, in one sentence.
    """
    if not check and inference["out"] is None:
        raise click.UsageError("Missing option '--out'; only --check goes without.")
    given = {key: _plain(value) for key, value in inference.items() if value not in (None, False)}
    params: dict[str, Any] = {"inference": given, **({"hardware": {"device": device}} if device else {})}
    try:
        session: Any = KedroSession.create(_project(), env=env, runtime_params=params)
        with session:
            if check:
                click.echo(_look(session.load_context().params))
            else:
                session.run(pipeline_names=["inference"], runner=SequentialRunner())
    except Exception as error:
        ours = cause_of(error)
        if ours is None:
            raise
        click.secho(str(ours), err=True, fg="red")
        raise SystemExit(_REFUSED) from error


def _look(parameters: dict[str, Any]) -> str:
    """Return what an assessment would work on as JSON; nothing is written."""
    from xview2_siamese_unet.inference.harmonise import harmonise  # noqa: PLC0415  a command that assesses nothing
    from xview2_siamese_unet.inference.record import describe_pair  # noqa: PLC0415  does not wait for GDAL
    from xview2_siamese_unet.params.inference import InferenceParams  # noqa: PLC0415

    found = harmonise(InferenceParams.model_validate(parameters["inference"], from_attributes=True))
    shift = None if found.shift is None else {**asdict(found.shift), "sure": found.shift.sure}
    buildings = None if found.footprints is None else len(found.footprints)
    report = {**describe_pair(found.pair), "registration": shift, "footprints": buildings, "warnings": found.warnings}
    return json.dumps(report, indent=2)


def _project() -> Path | None:
    project: Path | None = find_kedro_project(Path.cwd())
    if project is not None and PACKAGE_NAME is None:
        bootstrap_project(project)
    return project


def _plain(value: object) -> object:
    """Paths are those of the caller, wherever the project lies."""
    return str(value.expanduser().absolute()) if isinstance(value, Path) else value
