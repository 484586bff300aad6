"""The page of a campaign's plan, a single HTML file: a map of its jobs, its acquisitions and the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.report.outlines import draw_polygons
from xview2_siamese_unet.report.page import page_environment

# Okabe and Ito 2008, without black: distinct for colour-blind readers.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_ROWS: Final = 200
"""Jobs and acquisitions in the tables of the page; all are in `plan.csv` and `images.geojson`."""


class Square(NamedTuple):
    """A square that holds jobs: in degrees, the post-disaster acquisition of most of them, and words on them."""

    shape: BaseGeometry
    post: str
    words: str


@dataclass(frozen=True, slots=True)
class PlanContent:
    """Everything on the page.

    Attributes:
        title: heading.
        event: date of the event, if pairs were chosen by it.
        jobs: rows of `plan.csv`.
        grounds: the part of its tile that each job was chosen for, in degrees.
        outlines: of the acquisitions before the event, in degrees; empty if there are too many for a map.
        acquisitions: rows with `id`, `side`, `taken`, `images`, `pixel`, `cloud`, `off_nadir`, `jobs`.
        totals: word → number with its unit.
        rules: how pairs are chosen, a sentence each.
        warnings: what was left out.
        squares: to draw in place of the jobs if there are many.
        side: of the squares, with its unit.
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
    squares: Sequence[Square] = ()
    side: str = ""


def render_plan(content: PlanContent) -> str:
    """Return the page; it makes no request, runs no script, and escapes all text."""
    squares = content.squares or [
        Square(ground, str(job["post"]), _words(job)) for ground, job in zip(content.grounds, content.jobs, strict=True)
    ]
    shapes = [*(each.shape for each in squares), *content.outlines]
    paths, size = draw_polygons(np.array(shapes, dtype=object))
    acquisitions = content.acquisitions
    if len(acquisitions) > _ROWS:
        acquisitions = sorted(acquisitions, key=lambda row: -row["jobs"])[:_ROWS]
    posts = list(dict.fromkeys(str(job["post"]) for job in content.jobs))
    return (
        page_environment()
        .get_template("plan.html.j2")
        .render(
            content=content,
            squares=list(zip(squares, paths, strict=False))[::-1],  # the first job of a tile on top
            outlines=paths[len(squares) :],
            acquisitions=acquisitions,
            size=size,
            colours={post: _COLOURS[number % len(_COLOURS)] for number, post in enumerate(posts)},
            most=_ROWS,
        )
    )


def _words(job: Mapping[str, Any]) -> str:
    pre, post = (f"{job[key]} ({job[f'{key}_date'] or '–'})" for key in ("pre", "post"))
    return f"{job['job']}: {pre} and {post}"
