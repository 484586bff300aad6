"""`overview.html`: what the page of a finished campaign shows; its map does not grow with the number of buildings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.campaign.acquisition import WGS84, polygons
from xview2_siamese_unet.campaign.catalogue import NO_PRE
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.tiles import SIDE, Tile, in_zone
from xview2_siamese_unet.inference.summary import CELL
from xview2_siamese_unet.raster.grid import reproject
from xview2_siamese_unet.report.overview import Cell, JobRow, OverviewContent, render_overview
from xview2_siamese_unet.types import Float64Array
from xview2_siamese_unet.xbd.georeference import utm_transformer

OVERVIEW: Final = "overview.html"
_MOST: Final = 2000
"""Cells of the map."""
_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Sides of cells of the map in cells of the summary; these are not divided."""
_Place = tuple[int, int, int]
"""UTM zone and south-west corner of a cell."""
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
    jobs = [_job(task, failed.get(task.job.name)) for task in ordered]
    first = {task.job.tile: task.job.name for task in ordered if task.job.name not in failed}
    side, counts = _gathered(numbers[f"cells_{CELL}_m"])
    cells = [_cell(place, side, each, first) for place, each in counts.items()]
    unplaced = numbers["all"]["buildings"] - sum(each["buildings"] for each in counts.values())
    length = f"{side} m" if side < 1000 else f"{side / 1000:g} km"
    days = sorted({task.job.post.taken[:10] for task in tasks if task.job.post.taken})
    title = f"Damage in images of {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else "Damage"
    page = render_overview(OverviewContent(title, numbers, length, cells, unplaced, jobs))
    write_atomically(folder / OVERVIEW, page)


def _gathered(rows: Iterable[Mapping[str, Any]]) -> tuple[int, Mapping[_Place, Counter[str]]]:
    """Return the side of the cells in metres, and their counts: of the summary, or of squares of its cells."""
    placed = [([*map(int, found.groups())], row) for row in rows if (found := _NAME.fullmatch(row["name"]))]
    for step in _STEPS:
        side = step * CELL
        cells: defaultdict[_Place, Counter[str]] = defaultdict(Counter)
        for (zone, east, north), row in placed:
            place = zone, east // side * side, north // side * side
            cells[place].update({key: value for key, value in row.items() if isinstance(value, int)})
        if len(cells) <= _MOST:
            break
    return side, cells


def _cell(place: _Place, side: int, counts: Mapping[str, int], first: Mapping[Tile, str]) -> Cell:
    """Return a cell of the map; if it lies in one tile, a click opens the report of the first job of that."""
    zone, east, north = place
    corner, opposite = (Tile(zone, (east + more) // SIDE, (north + more) // SIDE) for more in (0, side - 1))
    scene = first.get(corner) if corner == opposite else None
    return Cell(f"EPSG:{zone} E{east}N{north}", _square(place, side), counts, scene)


def _square(place: _Place, side: int) -> BaseGeometry:
    """Return the part of a cell that lies in its UTM zone, in degrees."""
    zone, left, bottom = place
    west = 6 * (zone % 100) - 186

    def degrees(xy: Float64Array) -> Float64Array:
        x, y = utm_transformer(zone).transform(xy[:, 0], xy[:, 1], direction="INVERSE")
        return np.column_stack([(x - west + 177) % 360 + west - 177, y])  # across 180 degrees, too

    square = shapely.transform(shapely.box(left, bottom, left + side, bottom + side), degrees)
    return square.intersection(shapely.box(west, -90, west + 6, 90))


def _job(task: Task, error: str | None) -> JobRow:
    job, tile = task.job, task.job.tile
    ground: BaseGeometry = tile.box
    for each in filter(None, (job.pre, job.post)):
        shown = shapely.union_all([in_zone(image.outline, tile.zone) for image in each.images])
        ground = polygons(ground.intersection(shown))
    ground = polygons(ground.simplify(_DETAIL))
    shape = reproject(tile.box if ground.is_empty else ground, CRS.from_epsg(tile.zone), WGS84)
    names = (NO_PRE, None) if job.pre is None else (job.pre.id, job.pre.taken)
    return JobRow(job.name, *names, job.post.id, job.post.taken, shape, error)
