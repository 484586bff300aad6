"""The labelling page: one HTML file with the images of some buildings, which works without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from PIL import Image

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.labelling.labels import CANNOT_TELL, NO_BUILDING
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.reader import ImageReader, Pair
from xview2_siamese_unet.report.page import jpeg_uri, page_environment

_CONTEXT: Final = 100.0  # metres; smallest side of a picture
_AROUND: Final = 1.8  # times the longer side of the building
_CLOSE: Final = (30.0, 1.5)  # extent shown at first: metres, and times the longer side of the building
_PIXELS: Final = 320  # side of a picture in the page
_WIDEST: Final = 2048  # pixels of the grid that one picture is made from
_UNITS: Final = 1000
"""Steps along the side of a picture in which outlines are drawn."""
# In the words of the Joint Damage Scale of xBD (Gupta et al. 2019).
_HINTS: Final = {
    Damage.NO_DAMAGE: "undisturbed; no sign of water, cracks, burn or missing parts",
    Damage.MINOR_DAMAGE: "roof parts missing, cracks, partly burnt, water or ash around it",
    Damage.MAJOR_DAMAGE: "part of walls or roof collapsed, or surrounded by water or mud",
    Damage.DESTROYED: "burnt out, collapsed, covered by water or mud, or gone",
}
_TOOLS: Final = (
    ("back", "ArrowLeft", ("←", "back")),
    ("next", "ArrowRight", ("→", "next")),
    ("unlabelled", "n", ("n", "unlabelled")),
    ("undo", "x", ("x", "undo")),
    ("blink", "b", ("b", "blink pre")),
    ("zoom", "z", ("z", "context")),
    ("outline", "o", ("o", "outline")),
)
"""Id of a button, its key, and its text."""
_log = logging.getLogger(__name__)


def labelling_page(
    buildings: gpd.GeoDataFrame,
    pair: Pair,
    ids: Sequence[str],
    *,
    show_prediction: bool,
    title: str = "Damage labels",
) -> str:
    """Return a page on which a person gives the buildings a damage class; `labels.read_labels` reads its exports.

    Images are read window by window. The page makes no request, keeps the labels in the browser, and escapes all text.

    Args:
        buildings: the assessed buildings, see `inference.buildings.read_building_layer`.
        pair: their images, see `inference.reopen.reopen_pair`.
        ids: `building_id` of the buildings to label, in this order.
        show_prediction: whether to show the predicted class, which influences people.
        title: heading; also the name of exported files.

    Raises:
        DataError: an id is unknown or repeats, a building lies outside the images, or there is no id.
    """
    rows = _rows(buildings, ids)
    polygons = _in_pixels(rows, pair.grid)
    degrees = rows.geometry.to_crs("OGC:CRS84").to_numpy()
    chips = track("buildings cut out", len(rows), _chips(pair, polygons))
    entries = [
        {
            "id": str(row.building_id),
            "area": round(float(row.area_m2)),
            "prediction": _prediction(row) if show_prediction else None,
            "geometry": json.loads(shapely.to_geojson(shapely.set_precision(outline, 1e-7))),
            **chip,
        }
        for row, outline, chip in zip(rows.itertuples(), degrees, chips, strict=True)
    ]
    return _render(entries, title, {"pre": None if pair.post_only else pair.pre.taken, "post": pair.post.taken})


def _rows(buildings: gpd.GeoDataFrame, ids: Sequence[str]) -> gpd.GeoDataFrame:
    """Return the buildings in the order of the ids."""
    known = buildings.dropna(subset=["building_id"])
    known = known.set_axis(known["building_id"].astype(str))
    unknown = [one for one in ids if one not in known.index]
    if unknown or not len(ids):
        raise DataError(
            f"{len(unknown)} of {len(ids)} buildings to label are not in the assessment{_first(unknown)}.",
            hint="Name buildings by their building_id.",
        )
    if repeated := [one for one, count in pd.Series(ids).value_counts().items() if count > 1]:
        raise DataError(f"{len(repeated)} buildings are listed twice{_first(repeated)}.", hint="List each once.")
    return known.loc[list(ids)]


def _first(ids: Sequence[Any]) -> str:
    return f", the first is {ids[0]!r}" if ids else ""


def _in_pixels(rows: gpd.GeoDataFrame, grid: Grid) -> Any:  # noqa: ANN401
    """Return the outlines in columns and rows of the grid.

    Raises:
        DataError: a building lies outside of the grid.
    """
    polygons = rows.geometry.to_numpy()
    outside = rows["building_id"][~shapely.intersects(polygons, shapely.box(*grid.bounds))]
    if len(outside):
        raise DataError(
            f"{len(outside)} buildings lie outside of the images{_first(list(outside))}.", hint="Leave them out."
        )
    origin = np.array([grid.left, grid.top])
    return shapely.transform(polygons, lambda xy: (xy - origin) / [grid.pixel, -grid.pixel])


class _Window(NamedTuple):
    """A square of the grid, in pixels."""

    top: int
    left: int
    side: int


def _chips(pair: Pair, polygons: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the pictures of each building, its outline, and the extent to show."""
    pixel, cut = pair.grid.pixel, 0
    with pair.open() as reader:
        for polygon in polygons:
            west, north, east, south = polygon.bounds
            extent = max(east - west, south - north)
            side = math.ceil(max(_CONTEXT / pixel, _AROUND * extent))
            cut += side > _WIDEST
            side = min(side, _WIDEST)
            window = _Window(round((north + south - side) / 2), round((west + east - side) / 2), side)
            close = max(_CLOSE[0] / pixel, _CLOSE[1] * extent)
            yield {
                "pre": None if pair.post_only else _picture(reader.pre, window),
                "post": _picture(reader.post, window),
                "path": _path(polygon, window),
                "zoom": round(max(side / close, 1), 3),
                "metres": round(side * pixel, 2),
            }
    if cut:
        _log.warning("%d buildings are longer than %d pixels: the page shows a part of them", cut, _WIDEST)


def _picture(reader: ImageReader, window: _Window) -> str | None:
    """Return one picture as a data URI, `None` without data."""
    pixels, valid = reader.read_bytes(window.top, window.left, window.side, window.side)
    if not valid.any():
        return None
    picture = Image.fromarray(pixels)
    picture.thumbnail((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    return jpeg_uri(picture, quality=82, subsampling=2)


def _path(polygon: Any, window: _Window) -> str:  # noqa: ANN401
    """Return the rings as an SVG path."""
    rings = []
    for part in shapely.get_parts(polygon):
        for ring in (part.exterior, *part.interiors):
            points = (shapely.get_coordinates(ring)[:-1] - [window.left, window.top]) * (_UNITS / window.side)
            rings.append("M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in points) + "Z")
    return "".join(rings)


def _prediction(row: Any) -> str:  # noqa: ANN401
    if pd.isna(row.damage):
        return f"none ({row.reason or row.status})"
    return f"{Damage(row.damage).word}, confidence {row.confidence:.2f}"


def _choices() -> list[dict[str, str]]:
    """Return the choices of the labeller: key, exported value, name, hint and colour."""
    classes = [
        {
            "key": str(int(code)),
            "value": code.word,
            "name": code.word.replace("-", " ").capitalize(),
            "hint": _HINTS[code],
            "colour": code.colour,
        }
        for code in SCORED
    ]
    nothing = {
        "key": "0",
        "value": NO_BUILDING,
        "name": "No building",
        "hint": "the outline is wrong: no building stood here",
    }
    unknown = {"key": "u", "value": CANNOT_TELL, "name": "Cannot tell", "hint": "cloud, shadow, blur or no data"}
    return [*classes, nothing | {"colour": "#ffffff"}, unknown | {"colour": Damage.UNCLASSIFIED.colour}]


def _render(entries: list[dict[str, Any]], title: str, dates: dict[str, str | None]) -> str:
    folder = files("xview2_siamese_unet.report") / "templates"
    script = (folder / "label.js").read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:16]
    data = {
        "key": key,
        "file": "".join(letter if letter.isalnum() else "_" for letter in title.lower()),
        "pre": any(entry["pre"] for entry in entries),
        "answers": _choices(),
        "buildings": entries,
    }
    return (
        page_environment()
        .get_template("label.html.j2")
        .render(
            title=title,
            style=(folder / "label.css").read_text(encoding="utf-8"),
            script=script,
            # The browser runs only the script with this digest.
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            dates=dates,
            tools=_TOOLS,
            data=data,
        )
    )
