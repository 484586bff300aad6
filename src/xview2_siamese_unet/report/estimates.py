"""The page of the estimates from a validation sample, a single HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.report.page import LIMITS, page_environment

_AREAS: Final = 30
"""Zones or cells on the page; all are in the table."""


def render_estimates(title: str, numbers: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return the page; text from data is escaped.

    Args:
        title: heading.
        numbers: the content of `estimates.json`.
        record: of the assessment, for the names of the images.
    """
    damaged, severe = (row["kind"] for row in numbers["all"][:2])
    return (
        page_environment()
        .get_template("estimates.html.j2")
        .render(
            title=title,
            numbers=numbers,
            record=record,
            colours={code.word: code.colour for code in SCORED},
            areas={name: _areas(numbers[key], damaged, severe) for name, key in _LEVELS.items() if numbers[key]},
            most=_AREAS,
            limits=LIMITS[:3],
        )
    )


_LEVELS: Final = {"zone": "zones", "cell": "cells_500_m"}


def _areas(rows: list[dict[str, Any]], damaged: str, severe: str) -> list[dict[str, Any]]:
    """Return the areas with the most damaged buildings, both kinds of counts in one row."""
    pairs: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["kind"] in (damaged, severe):
            kind = "damaged" if row["kind"] == damaged else "severe"
            pairs.setdefault(row["name"], {"name": row["name"]})[kind] = row
    return sorted(pairs.values(), key=lambda row: (-row["damaged"]["estimate"], row["name"]))[:_AREAS]
