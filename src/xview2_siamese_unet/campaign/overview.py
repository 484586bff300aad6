"""`overview.html`, the page of a finished campaign; its map does not grow with the number of buildings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import shapely
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.campaign.acquisition import WGS84, polygons
from xview2_siamese_unet.campaign.catalogue import NO_PRE
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.plan import Job
from xview2_siamese_unet.campaign.tiles import SIDE, Corner, Tile, around, in_zone, length, side_for, square
from xview2_siamese_unet.inference.summary import CELL
from xview2_siamese_unet.raster.grid import reproject
from xview2_siamese_unet.report.overview import Cell, JobRow, Outline, OverviewContent, render_overview

OVERVIEW: Final = "overview.html"
_MOST: Final = 2000
"""Largest number of cells on the map."""
_SINGLE: Final = 200
"""Largest number of jobs that the map draws one by one; more are joined into squares."""
_SQUARES: Final = 1000
"""Largest number of these squares."""
_NAME: Final = re.compile(r"EPSG:(\d+) E(-?\d+)N(-?\d+)")
_DETAIL: Final = 20.0
"""Metres to which outlines of jobs are simplified."""


def write_overview(folder: Path, tasks: Sequence[Task], failed: Mapping[str, str], numbers: Mapping[str, Any]) -> None:
    """Write the page of a campaign.

    Args:
        folder: of the campaign.
        tasks: all jobs.
        failed: job → why it has no assessment.
        numbers: content of `summary.json`.
    """
    ordered = sorted(tasks, key=lambda task: (-task.job.rank, task.job.name))
    jobs = [task.job for task in ordered]
    rows = [_row(job, failed.get(job.name)) for job in jobs]
    first = {task.job.tile: task.job.name for task in ordered if task.job.name not in failed}
    side, counts = _gathered(numbers[f"cells_{CELL}_m"])
    cells = [_cell(corner, side, each, first) for corner, each in counts.items()]
    unplaced = numbers["all"]["buildings"] - sum(each["buildings"] for each in counts.values())
    joined, outlines = _outlines(jobs, rows)
    days = sorted({task.job.post.taken[:10] for task in tasks if task.job.post.taken})
    title = f"Damage in images of {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else "Damage"
    content = OverviewContent(
        title=title,
        sentence=numbers["sentence"],
        numbers=numbers,
        side=length(side),
        cells=cells,
        unplaced=unplaced,
        jobs=rows,
        outlines=outlines,
        joined=joined,
    )
    write_atomically(folder / OVERVIEW, render_overview(content))


def _gathered(rows: Iterable[Mapping[str, Any]]) -> tuple[int, Mapping[Corner, Counter[str]]]:
    """Return the side of the map's cells in metres and their counts; too many cells are joined into larger ones."""
    placed: dict[Corner, Mapping[str, Any]] = {}
    for row in rows:
        if match := _NAME.fullmatch(row["name"]):
            zone, east, north = map(int, match.groups())
            placed[zone, east, north] = row
    side = side_for(placed, _MOST, at_least=CELL)
    cells: defaultdict[Corner, Counter[str]] = defaultdict(Counter)
    for corner, row in placed.items():
        cells[around(corner, side)].update({key: value for key, value in row.items() if isinstance(value, int)})
    return side, cells


def _cell(corner: Corner, side: int, counts: Mapping[str, int], first: Mapping[Tile, str]) -> Cell:
    """Return a cell of the map; if it lies in one tile, a click opens the report of that tile's first job."""
    zone, east, north = corner
    south_west, north_east = (Tile(zone, (east + more) // SIDE, (north + more) // SIDE) for more in (0, side - 1))
    scene = first.get(south_west) if south_west == north_east else None
    return Cell(f"EPSG:{zone} E{east}N{north}", square(corner, side), counts, scene)


def _row(job: Job, error: str | None) -> JobRow:
    names = (NO_PRE, None) if job.pre is None else (job.pre.id, job.pre.taken)
    return JobRow(job.name, *names, job.post.id, job.post.taken, error)


def _outlines(jobs: Sequence[Job], rows: Sequence[JobRow]) -> tuple[str | None, list[Outline]]:
    """Return the side of the squares that join many jobs, `None` for a few jobs, and the outlines on the map."""
    if len(jobs) <= _SINGLE:
        return None, [Outline(_ground(job), [row]) for job, row in zip(jobs, rows, strict=True)]
    side = side_for({job.tile.corner for job in jobs}, _SQUARES)
    outlines = []
    for failed in (False, True):
        some = [(job, row) for job, row in zip(jobs, rows, strict=True) if (row.error is not None) == failed]
        if some:
            corners = {around(job.tile.corner, side) for job, _ in some}
            ground = shapely.union_all([square(corner, side) for corner in sorted(corners)])
            outlines.append(Outline(ground, [row for _, row in some]))
    return length(side), outlines


def _ground(job: Job) -> BaseGeometry:
    """Return the part of its tile that the pair of a job shows, in degrees."""
    tile, ground = job.tile, polygons(job.tile.box)
    for each in filter(None, (job.pre, job.post)):
        shown = shapely.union_all([in_zone(image.outline, tile.zone) for image in each.images])
        ground = polygons(ground.intersection(shown))
    ground = polygons(ground.simplify(_DETAIL))
    return reproject(tile.box if ground.is_empty else ground, CRS.from_epsg(tile.zone), WGS84)
