"""The page of a campaign's plan, a single HTML file: a map of its jobs, its acquisitions and the rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.report.page import page_environment
from xview2_siamese_unet.types import Float64Array

# Okabe and Ito 2008, without black: distinct for colour-blind readers.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_WIDTH: Final = 1000.0
"""Units of the map along its longer side."""
_ROWS: Final = 200
"""Jobs in the table of the page; all are in `plan.csv`."""


@dataclass(frozen=True, slots=True)
class PlanContent:
    """Everything on the page.

    Attributes:
        title: heading.
        event: date of the event, if pairs were chosen by it.
        jobs: rows of `plan.csv`.
        grounds: the part of its tile that each job was chosen for, in degrees.
        outlines: what the acquisitions before the event show, in degrees.
        acquisitions: rows with `id`, `side`, `taken`, `images`, `pixel`, `cloud`, `off_nadir`.
        totals: word → number with its unit.
        rules: how pairs are chosen, a sentence each.
        warnings: what was left out.
    """

    title: str
    event: str | None
    jobs: Sequence[Mapping[str, Any]]
    grounds: Sequence[BaseGeometry]
    outlines: Sequence[BaseGeometry]
    acquisitions: Sequence[Mapping[str, Any]]
    totals: Mapping[str, str]
    rules: Sequence[str]
    warnings: Sequence[str]


def render_plan(content: PlanContent) -> str:
    """Return the page; it makes no request, runs no script, and escapes all text."""
    shapes = np.array([*content.grounds, *content.outlines], dtype=object)
    paths, size = _drawn(shapes)
    posts = list(dict.fromkeys(str(job["post"]) for job in content.jobs))
    return (
        page_environment()
        .get_template("plan.html.j2")
        .render(
            content=content,
            paths=paths[: len(content.grounds)],
            outlines=paths[len(content.grounds) :],
            size=size,
            colours={post: _COLOURS[number % len(_COLOURS)] for number, post in enumerate(posts)},
            most=_ROWS,
        )
    )


def _drawn(shapes: Any) -> tuple[list[str], tuple[int, int]]:  # noqa: ANN401
    """Return polygons in degrees as SVG paths, and width and height of the map."""
    if np.ptp(shapely.total_bounds(shapes)[[0, 2]]) > 180:  # across 180 degrees
        shapes = shapely.transform(shapes, lambda xy: xy + np.where(xy[:, :1] < 0, [360.0, 0.0], 0.0))
    west, south, east, north = shapely.total_bounds(shapes).tolist()
    squeeze = math.cos(math.radians((south + north) / 2))
    scale = _WIDTH / max((east - west) * squeeze, north - south)

    def place(xy: Float64Array) -> Float64Array:
        return np.column_stack([(xy[:, 0] - west) * squeeze * scale, (north - xy[:, 1]) * scale])

    size = math.ceil((east - west) * squeeze * scale), math.ceil((north - south) * scale)
    return [_path(shape) for shape in shapely.transform(shapes, place)], size


def _path(shape: BaseGeometry) -> str:
    """Return the rings of polygons as an SVG path."""
    rings = (ring for part in shapely.get_parts(shape) for ring in (part.exterior, *part.interiors))
    return "".join(
        f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in shapely.get_coordinates(ring.simplify(0.1))[:-1])}Z"
        for ring in rings
    )
