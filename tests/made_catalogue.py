"""A catalogue of acquisitions on both sides of a border of UTM zones, in the layout of a vendor's open data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine

EVENT = "2023-02-06T01:17:00Z"
BORDER, LATITUDE = 36.0, 37.0
"""Longitude of the border between zones 36 and 37, and latitude of the images on it."""
PIXEL = 0.5


@dataclass(frozen=True)
class Made:
    """A written catalogue: `top` is its root file, `acquisitions` the metadata of its items."""

    top: Path
    acquisitions: list[dict[str, Any]]


def write_catalogue(folder: Path, count: int = 6, tiles: int = 1, side: int = 6000) -> Made:
    """Write `count` acquisitions before the event and as many after it, each of `tiles` items of `side` pixels.

    They lie in three columns across the border and overlap by 30 %. All pixels are no data.
    """
    rng = np.random.default_rng(5)
    found = []
    for phase, first in (("pre", "2022-12-01"), ("post", "2023-02-07")):
        for number in range(count):
            day = np.datetime64(first) + int(rng.integers(0, 6)) * (9 if phase == "pre" else 1)
            facts = {
                "id": f"1040010{phase}{number:03}",
                "datetime": f"{day}T08:{number % 60:02}:15Z",
                "cloud": float(rng.choice([0, 4, 12, 40])),
                "off_nadir": float(rng.integers(5, 38)),
                "outlines": [],
            }
            for tile in range(tiles):
                column, row = number % 3, number // 3 * tiles + tile
                facts["outlines"].append(_write_item(folder, facts, (column, row), side))
            found.append(facts)
    links = [
        _write_json(
            folder / f"acquisition_collections/{facts['id']}_collection.json",
            _collection(
                facts["id"],
                [("item", f"../ard/{facts['id']}/{number}.json") for number in range(tiles)],
            ),
        )
        for facts in found
    ]
    top = folder / "collection.json"
    children = [("child", str(link.relative_to(folder))) for link in links]
    _write_json(top, _collection("quake", children) | {"event_date": EVENT})
    return Made(top, found)


def pair_by_rules(made: Made, point: shapely.Point) -> tuple[str, str] | None:
    """Return the pair for a point by the documented rules, without code of the project."""
    shown = [facts for facts in made.acquisitions if any(outline.contains(point) for outline in facts["outlines"])]
    shown.sort(key=lambda facts: (facts["cloud"], facts["off_nadir"], facts["id"]))
    shown.sort(key=lambda facts: facts["datetime"][:10], reverse=True)
    shown.sort(key=lambda facts: facts["cloud"] > 15 or facts["off_nadir"] > 30)
    before, after = ([f["id"] for f in shown if (f["datetime"] >= EVENT) == late] for late in (False, True))
    return (before[0], after[0]) if before and after else None


def _write_item(folder: Path, facts: dict[str, Any], cell: tuple[int, int], side: int) -> shapely.Polygon:
    """Write one item and its raster; return its outline in degrees."""
    number = len(facts["outlines"])
    step = 0.7 * side * PIXEL
    metres = pyproj.Proj(proj="aeqd", lon_0=BORDER, lat_0=LATITUDE)
    longitude, latitude = metres((cell[0] - 1.1) * step, -cell[1] * step, inverse=True)
    zone = 32636 if longitude < BORDER else 32637
    to_zone = pyproj.Transformer.from_crs(4326, zone, always_xy=True)
    east, north = (round(value) for value in to_zone.transform(longitude, latitude))
    half = side * PIXEL / 2
    path = folder / f"ard/{facts['id']}/{number}-visual.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(PIXEL, 0, east - half, 0, -PIXEL, north + half)
    profile = {"count": 3, "dtype": "uint8", "width": side, "height": side, "photometric": "RGB", "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", crs=f"EPSG:{zone}", transform=transform, tiled=True, **profile):
        pass
    square = shapely.segmentize(shapely.box(east - half, north - half, east + half, north + half), 100)
    outline = shapely.transform(square, lambda xy: np.column_stack(to_zone.transform(*xy.T, direction="INVERSE")))
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"{zone % 100}/{cell[0]}{cell[1]}/{facts['id']}",
        "geometry": shapely.geometry.mapping(outline),
        "bbox": outline.bounds,
        "properties": {
            "datetime": facts["datetime"],
            "catalog_id": facts["id"],
            "quadkey": f"0312{cell[0]}{cell[1]}",
            "utm_zone": zone % 100,
            "view:off_nadir": facts["off_nadir"],
            "tile:clouds_percent": facts["cloud"],
        },
        "links": [],
        "assets": {
            "visual": {"href": f"./{path.name}", "type": "image/tiff; application=geotiff", "roles": ["visual"]},
            "pan_analytic": {"href": "./pan.tif", "roles": ["data"]},
        },
    }
    _write_json(path.with_name(f"{number}.json"), item)
    return outline


def _collection(name: str, links: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "CC-BY-NC-4.0",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [{"rel": kind, "href": href} for kind, href in links],
    }


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
