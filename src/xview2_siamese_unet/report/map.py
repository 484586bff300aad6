"""The map of one assessment: one HTML file that works from disk with the network off."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.report.environment import escaping_environment
from xview2_siamese_unet.report.page import LIMITS

ByteArray = npt.NDArray[np.uint8]
_LETTERS: Final = ("N", "m", "M", "D")
"""One for each class, beside its colour: never by colour alone."""
_UNKNOWN: Final = {"word": "not assessed", "letter": "?", "colour": "#7f7f7f"}
_UNITS: Final = 10
"""Steps of a coordinate to a pixel of the grid."""
_QUALITY: Final = 82


@dataclass(frozen=True, slots=True)
class MapBuildings:
    """Buildings as the page needs them, row by row.

    Attributes:
        polygons: in columns and rows of the grid.
        classes: 0 to 3 for the damage classes, 4 where there is none.
        confidence: 0 to 1, not a number where there is none.
        area: square metres.
        facts: what a click shows; column → text of each building.
    """

    polygons: Any
    classes: Sequence[int]
    confidence: npt.NDArray[np.float64]
    area: npt.NDArray[np.float64]
    facts: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class MapContent:
    """Everything on the page.

    Attributes:
        title: heading.
        pictures: the image before and the image after (h, w, 3).
        size: columns and rows of the grid.
        pixel: metres of a pixel of the grid.
        buildings: what to draw.
        notes: where it comes from, line by line.
        warnings: what was noticed on the way.
    """

    title: str
    pictures: tuple[ByteArray, ByteArray]
    size: tuple[int, int]
    pixel: float
    buildings: MapBuildings
    notes: Sequence[str]
    warnings: Sequence[str] = ()


def render_map(content: MapContent) -> str:
    """Return the page; every text that comes from data is escaped, and no other script than its own may run."""
    folder = files("xview2_siamese_unet.report") / "templates"
    script = (folder / "map.js").read_text(encoding="utf-8")
    pre, post = content.pictures
    return (
        escaping_environment()
        .get_template("map.html.j2")
        .render(
            content=content,
            style=(folder / "map.css").read_text(encoding="utf-8"),
            script=script,
            # The browser runs the script with this digest and no other.
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            pre=jpeg(pre),
            post=jpeg(post),
            classes=_legend(),
            data=_data(content),
            limits=LIMITS[:3],
        )
    )


def _legend() -> list[dict[str, str]]:
    known = [
        {"word": code.word, "letter": letter, "colour": code.colour}
        for code, letter in zip(SCORED, _LETTERS, strict=True)
    ]
    return [*known, _UNKNOWN]


def _data(content: MapContent) -> dict[str, Any]:
    buildings = content.buildings
    confidence = [None if np.isnan(value) else round(float(value), 3) for value in buildings.confidence]
    return {
        "size": content.size,
        "pixel": content.pixel,
        "units": _UNITS,
        "classes": _legend(),
        "rings": [_rings(polygon) for polygon in buildings.polygons],
        "class": list(buildings.classes),
        "confidence": confidence,
        "area": [round(float(value), 1) for value in buildings.area],
        "facts": {name: list(values) for name, values in buildings.facts.items()},
    }


def _rings(polygon: Any) -> list[list[int]]:  # noqa: ANN401
    """Return all rings as x, y and then steps from vertex to vertex: half of the digits of coordinates."""
    rings = []
    for part in shapely.get_parts(polygon):
        for ring in (part.exterior, *part.interiors):
            points = np.rint(shapely.get_coordinates(ring)[:-1] * _UNITS).astype(int)
            rings.append([*points[:1].ravel().tolist(), *np.diff(points, axis=0).ravel().tolist()])
    return rings


def jpeg(picture: ByteArray) -> str:
    """Return a picture (h, w, 3) as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
