"""Pages of one assessment, each a single HTML file: a map, and a report to print."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np
import shapely
from PIL import Image

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.report.page import LIMITS, jpeg_uri, page_environment
from xview2_siamese_unet.types import Float64Array, UInt8Array

# A letter for each class, so that nothing depends on colour alone.
_LETTERS: Final = ("N", "m", "M", "D")
_LEGEND: Final = (
    *(
        {"word": code.word, "letter": letter, "colour": code.colour}
        for code, letter in zip(SCORED, _LETTERS, strict=True)
    ),
    {"word": "not assessed", "letter": "?", "colour": "#7f7f7f"},
)
_UNITS: Final = 10
"""Coordinate steps per pixel of the grid."""
_CELLS: Final = 15


@dataclass(frozen=True, slots=True)
class MapBuildings:
    """Buildings of the map, row by row.

    Attributes:
        polygons: in columns and rows of the grid.
        classes: 0 to 3 for the damage classes, 4 without a class.
        confidence: 0 to 1, NaN without a class.
        area: square metres.
        facts: what a click shows; column → text of each building.
    """

    polygons: Any
    classes: Sequence[int]
    confidence: Float64Array
    area: Float64Array
    facts: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class MapContent:
    """Everything on the map.

    Attributes:
        title: heading.
        pictures: pre- and post-disaster image (h, w, 3).
        size: columns and rows of the grid.
        pixel: metres of a pixel of the grid.
        buildings: what to draw.
        notes: provenance, line by line.
        warnings: of the assessment.
    """

    title: str
    pictures: tuple[UInt8Array, UInt8Array]
    size: tuple[int, int]
    pixel: float
    buildings: MapBuildings
    notes: Sequence[str]
    warnings: Sequence[str] = ()


def render_map(content: MapContent) -> str:
    """Return the map; text from data is escaped, and only its own script may run."""
    folder = files("xview2_siamese_unet.report") / "templates"
    script = (folder / "map.js").read_text(encoding="utf-8")
    pre, post = content.pictures
    return (
        page_environment()
        .get_template("map.html.j2")
        .render(
            content=content,
            style=(folder / "map.css").read_text(encoding="utf-8"),
            script=script,
            # The browser runs the script with this digest and no other.
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            pre=_jpeg(pre),
            post=_jpeg(post),
            classes=_LEGEND,
            data=_data(content),
            limits=LIMITS[:3],
        )
    )


def render_assessment(
    title: str,
    numbers: Mapping[str, Any],
    pictures: Mapping[str, UInt8Array],
    provenance: Mapping[str, str],
    warnings: Sequence[str],
    sections: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the report; text from data is escaped.

    Args:
        title: heading.
        numbers: what `inference.summary.summary_numbers` returns.
        pictures: caption → picture (h, w, 3).
        provenance: flat, name → value.
        warnings: of the assessment.
        sections: further headings, each with paragraphs.
    """
    damaged = [code.word for code in SCORED[1:]]
    cells = [row for row in numbers["cells_500_m"] if any(row[word] for word in damaged)]
    return (
        page_environment()
        .get_template("assessment.html.j2")
        .render(
            title=title,
            numbers=numbers,
            whole=numbers["all"],
            warnings=warnings,
            sections=sections or {},
            provenance=provenance,
            cells=sorted(cells, key=lambda row: (-sum(row[word] for word in damaged), row["name"]))[:_CELLS],
            colours={code.word: code.colour for code in SCORED},
            pictures={caption: _jpeg(picture) for caption, picture in pictures.items()},
            limits=LIMITS[:3],
            share=lambda value: "–" if value is None else f"{value:.1%}",
        )
    )


def _jpeg(picture: UInt8Array) -> str:
    return jpeg_uri(Image.fromarray(picture), quality=82, subsampling=2)


def _data(content: MapContent) -> dict[str, Any]:
    buildings = content.buildings
    return {
        "size": content.size,
        "pixel": content.pixel,
        "units": _UNITS,
        "classes": _LEGEND,
        "rings": [_rings(polygon) for polygon in buildings.polygons],
        "class": list(buildings.classes),
        "confidence": [None if np.isnan(value) else round(float(value), 3) for value in buildings.confidence],
        "area": [round(float(value), 1) for value in buildings.area],
        "facts": {name: list(values) for name, values in buildings.facts.items()},
    }


def _rings(polygon: Any) -> list[list[int]]:  # noqa: ANN401
    """Return each ring as its first point, then differences, which have half as many digits as coordinates."""
    rings = []
    for part in shapely.get_parts(polygon):
        for ring in (part.exterior, *part.interiors):
            points = np.rint(shapely.get_coordinates(ring)[:-1] * _UNITS).astype(int)
            rings.append([*points[:1].ravel().tolist(), *np.diff(points, axis=0).ravel().tolist()])
    return rings
