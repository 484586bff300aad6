"""`kedro campaign plan CATALOGUE --out DIR`: choose pairs for a whole disaster."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import click

from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.page import plan_page
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.campaign.plan_files import JOBS, PAGE, require_no_plan, write_plan
from xview2_siamese_unet.cli.command import ProjectCommand

_PATH: Final = click.Path(path_type=Path)
_log = logging.getLogger(__name__)


@click.group()
def campaign() -> None:
    """Assess a whole disaster: many scenes, one answer for each building."""


@campaign.command(cls=ProjectCommand)
@click.argument("catalogue", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder of the plan; must not hold one.")
@click.option(
    "--event-date",
    help="Date of the event in UTC, with a time if there are images of that day: 2023-02-06T01:17. Default: the "
    "field event_date of a STAC catalogue. A table of pairs needs none.",
)
def plan(catalogue: Path, out: Path, event_date: str | None) -> None:
    """Choose a pair of images for each part of the ground, and write the jobs to DIR/plan.csv.

    CATALOGUE is a STAC catalogue or collection on disk, a folder of scenes, or a table of pairs (.csv, .parquet).
    Nothing is assessed. Rows of plan.csv may be edited or deleted.

    \b
    kedro campaign plan catalogue/collection.json --event-date 2023-02-06T01:17 --out campaign
    kedro campaign plan pairs.csv --out campaign
    """  # noqa: D301  click takes the escaped character
    catalogue, out = (path.expanduser().absolute() for path in (catalogue, out))
    require_no_plan(out)
    made = make_plan(read_catalogue(catalogue, event_date))
    for warning in made.warnings:
        _log.warning("%s", warning)
    write_plan(out, made, plan_page(made, f"Plan for {catalogue.name}"))
    tiles = len({job.job.tile for job in made.jobs})
    click.echo(f"jobs: {len(made.jobs)}, tiles: {tiles}; look at {out / PAGE}, edit {JOBS}")
