"""The overview of a campaign, a single HTML file: counts, a map of square cells, and its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.report.outlines import draw_polygons
from xview2_siamese_unet.report.page import LIMITS, page_environment

# Blue as for undamaged buildings, then light to dark: distinct for colour-blind readers, and in print.
_SHARES: Final = (
    (0.0, "#56b4e9", "none"),
    (0.1, "#fee391", "up to 10 %"),
    (0.25, "#fe9929", "up to 25 %"),
    (0.5, "#cc4c02", "up to 50 %"),
    (1.0, "#662506", "over 50 %"),
)
"""Largest share of damaged buildings, colour, words."""
_UNKNOWN: Final = "#d9d9d9"
_SIDES: Final = (
    (10, 0.35, "1 to 9"),
    (100, 0.55, "10 to 99"),
    (1000, 0.75, "100 to 999"),
    (np.inf, 0.95, "1,000 or more"),
)
"""Number of buildings from which the next row counts, side of the square as a share of the cell, words."""
_ROWS: Final = 200
"""Zones, failed and finished jobs in the tables of the page."""


class Cell(NamedTuple):
    """A square of the map.

    Attributes:
        name: UTM zone and south-west corner.
        shape: in degrees.
        counts: `buildings`, one for each class, `abstained` and `not_assessed`.
        scene: job whose report a click opens, if there is one.
    """

    name: str
    shape: BaseGeometry
    counts: Mapping[str, int]
    scene: str | None


class JobRow(NamedTuple):
    """A job on the page: names and dates of its pair, and its error if it failed."""

    name: str
    pre: str
    pre_date: str | None
    post: str
    post_date: str | None
    error: str | None


class Outline(NamedTuple):
    """The outline of a job on the map, or of several that are all finished or all failed; in degrees."""

    shape: BaseGeometry
    jobs: Sequence[JobRow]


@dataclass(frozen=True, slots=True)
class OverviewContent:
    """Everything on the page.

    Attributes:
        title: heading.
        sentence: the counts of all buildings in words.
        numbers: content of `summary.json`.
        side: of the cells, with its unit.
        cells: of the map.
        unplaced: number of buildings that are not on the map.
        jobs: all of them.
        outlines: of the jobs; those of lower rank last, because the map draws them on top.
        joined: side of the squares that the outlines are joined from, with its unit; `None`: one outline a job.
    """

    title: str
    sentence: str
    numbers: Mapping[str, Any]
    side: str
    cells: Sequence[Cell]
    unplaced: int
    jobs: Sequence[JobRow]
    outlines: Sequence[Outline]
    joined: str | None


def render_overview(content: OverviewContent) -> str:
    """Return the page; it makes no request, runs no script, and escapes all text."""
    shapes = [*(outline.shape for outline in content.outlines), *(_sized(cell) for cell in content.cells)]
    paths, size = draw_polygons(np.array(shapes, dtype=object))
    finished, failed = ([job for job in content.jobs if (job.error is None) == done] for done in (True, False))
    whole = content.numbers["all"]
    zones = sorted(content.numbers["zones"], key=lambda row: (-_damaged(row), row["name"]))
    return (
        page_environment()
        .get_template("overview.html.j2")
        .render(
            content=content,
            numbers=content.numbers,
            whole=whole,
            visible=whole["buildings"] - whole["not_assessed"],
            damaged=_damaged(whole),
            outlines=[(each.jobs, path) for each, path in zip(content.outlines, paths, strict=False)],
            cells=[
                _drawn(cell, path) for cell, path in zip(content.cells, paths[len(content.outlines) :], strict=True)
            ],
            size=size,
            failed=failed[:_ROWS],
            failed_count=len(failed),
            finished=sorted(finished)[:_ROWS],
            finished_count=len(finished),
            zones=zones[:_ROWS],
            shares=[(colour, words) for _, colour, words in _SHARES],
            unknown=_UNKNOWN,
            sides=[(side, words) for _, side, words in _SIDES],
            colours={code.word: code.colour for code in SCORED},
            limits=LIMITS[:3],
            share=lambda value: "–" if value is None else f"{value:.1%}",
        )
    )


def _sized(cell: Cell) -> BaseGeometry:
    """Return the square of a cell, the larger the more buildings it holds."""
    side = next(side for below, side, _ in _SIDES if cell.counts["buildings"] < below)
    return affinity.scale(cell.shape, side, side, origin="centroid")


def _drawn(cell: Cell, path: str) -> dict[str, Any]:
    """Return the drawing of a cell; hatched if more than half of its buildings have no class."""
    counts = cell.counts
    unknown, damaged = counts["abstained"] + counts["not_assessed"], _damaged(counts)
    assessed = counts["buildings"] - unknown
    share = damaged / assessed if assessed else None
    colour = _UNKNOWN if share is None else next(colour for most, colour, _ in _SHARES if share <= most)
    facts = [f"buildings: {counts['buildings']:,}, assessed: {assessed:,}"]
    if share is not None:
        facts.append(f"damaged: {damaged:,} ({share:.1%}), destroyed among these: {counts[SCORED[-1].word]:,}")
    if unknown:
        facts.append(f"not assessed: {counts['not_assessed']:,}, uncertain: {counts['abstained']:,}")
    return {
        "path": path,
        "colour": colour,
        "hatched": 2 * unknown > counts["buildings"],
        "text": "\n".join([*facts, cell.name]),
        "scene": cell.scene,
    }


def _damaged(counts: Mapping[str, int]) -> int:
    return sum(counts[code.word] for code in SCORED[1:])
