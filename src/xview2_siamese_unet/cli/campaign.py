"""`kedro campaign plan`, `run` and `status`: choose pairs for a whole disaster, assess them, show the progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

import xview2_siamese_unet as xview2
from xview2_siamese_unet.cli.command import ProjectCommand, as_called, env_option, json_option, print_json

_INCOMPLETE: Final = 3
"""Exit status if some jobs failed and the others are finished."""
_PATH: Final = click.Path(path_type=Path)


@click.group()
def campaign() -> None:
    """Assess a whole disaster: many scenes, one result for each building."""


@campaign.command(cls=ProjectCommand)
@click.argument("catalogue", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder of the plan; must not hold one.")
@click.option(
    "--event-date",
    help="Date of the event in UTC, with a time if there are images of that day: 2023-02-06T01:17. Default: the "
    "field event_date of a STAC catalogue. A table of pairs needs none.",
)
@click.option("--history", is_flag=True, help="Also assess the other days after the event, for history.parquet.")
@json_option
def plan(catalogue: Path, out: Path, event_date: str | None, *, history: bool, as_json: bool) -> None:
    """Choose a pair of images for each part of the ground, and write the jobs to DIR/plan.csv.

    CATALOGUE is a STAC catalogue or collection on disk, a folder of scenes, or a table of pairs (.csv, .parquet).
    Nothing is assessed. Rows of plan.csv may be edited or deleted.

    \b
    kedro campaign plan catalogue/collection.json --event-date 2023-02-06T01:17 --out campaign
    kedro campaign plan pairs.csv --out campaign
    """  # noqa: D301  click takes the escaped character
    planned = xview2.plan_campaign(catalogue, out, event_date, history=history)
    from xview2_siamese_unet.campaign.plan_files import JOBS, PAGE  # noqa: PLC0415  slow to import for --help

    tiles = len({job.job.tile for job in planned.jobs})
    page = out.expanduser().absolute() / PAGE
    if as_json:
        print_json({"jobs": len(planned.jobs), "tiles": tiles, "page": str(page), "warnings": [*planned.warnings]})
    else:
        click.echo(f"jobs: {len(planned.jobs)}, tiles: {tiles}; see {page}, edit {JOBS}")


@campaign.command("run", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--footprints", type=_PATH, help="Building footprints of the whole area, see kedro assess.")
@click.option("--zones", type=_PATH, help="Polygons, such as districts, to count the buildings of the table by.")
@click.option("--model", help="As for kedro assess. Default: the newest finished run of --env.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Worker processes, each with one thread. Default: executor.kind and executor.workers of the parameters.",
)
@json_option
@env_option
def run_command(folder: Path, *, as_json: bool, env: str | None, **options: Any) -> None:  # noqa: ANN401
    """Assess all jobs of DIR/plan.csv, and write one table of buildings to DIR.

    Finished assessments of the same settings and inputs are reused: the same command resumes after an interruption. A
    job whose images cannot be assessed is reported; the others finish, the exit status is 3, and the same command
    tries it again.

    \b
    kedro campaign run campaign --footprints buildings.gpkg --workers 4
    kedro campaign run campaign --env lab/strong
    """  # noqa: D301  click takes the escaped character
    counts = xview2.run_campaign(folder, env=env, **options)
    if as_json:
        print_json(counts)
    else:
        click.echo(", ".join(f"{key} {value}" for key, value in counts["all"].items() if isinstance(value, int)))
        click.echo(counts["sentence"])
    if counts["jobs"]["failed"]:
        raise SystemExit(_INCOMPLETE)


@campaign.command("status", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@json_option
def status_command(folder: Path, *, as_json: bool) -> None:
    """Count the finished, failed and waiting jobs of DIR/plan.csv.

    \b
    kedro campaign status campaign
    kedro campaign status campaign --json
    """  # noqa: D301  click takes the escaped character
    state = xview2.campaign_status(folder)
    counts = {"jobs": state.jobs, "done": state.done, "failed": len(state.failed), "waiting": state.waiting}
    if as_json:
        print_json({**counts, "reasons": state.failed})
        return
    click.echo(", ".join(f"{name} {count}" for name, count in counts.items()))
    for name, reason in state.failed.items():
        click.echo(as_called(f"{name}: {reason}"))
