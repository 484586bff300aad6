"""The page of a campaign's plan, a single HTML file: a map of its jobs, its acquisitions and the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.report.outlines import draw_polygons
from xview2_siamese_unet.report.page import page_environment

# Okabe and Ito 2008, without black: distinct for colour-blind readers.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
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
    paths, size = draw_polygons(shapes)
    posts = list(dict.fromkeys(str(job["post"]) for job in content.jobs))
    return (
        page_environment()
        .get_template("plan.html.j2")
        .render(
            content=content,
            jobs=list(zip(content.jobs, paths, strict=False))[::-1],  # the first of a tile on top
            outlines=paths[len(content.grounds) :],
            size=size,
            colours={post: _COLOURS[number % len(_COLOURS)] for number, post in enumerate(posts)},
            most=_ROWS,
        )
    )
