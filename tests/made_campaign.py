"""A plan of four small jobs in two UTM zones.

One image spans two tiles, another covers a part of it, and a third lies apart.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine

from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.campaign.plan_files import write_plan
from xview2_siamese_unet.campaign.tiles import SIDE, Tile
from xview2_siamese_unet.xbd.georeference import utm_transformer, utm_zone

EDGE = 765_000
"""Easting of the border of two tiles in zone 36."""
JOBS = ["32636_0305_1639_01", "32636_0306_1639_01", "32636_0306_1639_02", "32637_0093_1639_01"]
PIXEL, HEIGHT = 0.5, 160
_TOP = 4_098_790
_WEST_EDGE, _EAST = EDGE - 40, 233_750


def tile_at(longitude: float, latitude: float) -> Tile:
    """Return the tile that a point in degrees belongs to."""
    zone = utm_zone(longitude, latitude)
    east, north = utm_transformer(zone).transform(longitude, latitude)
    return Tile(zone, math.floor(east / SIDE), math.floor(north / SIDE))


def write_campaign(folder: Path) -> Path:
    """Write images, a table of pairs and the plan; return its folder."""
    rng = np.random.default_rng(7)
    for name, zone, left, width in (
        ("pre_a", 36, _WEST_EDGE, 240),
        ("post_a1", 36, _WEST_EDGE, 160),
        ("post_a2", 36, EDGE, 160),
        ("pre_b", 37, _EAST, 160),
        ("post_b", 37, _EAST, 160),
    ):
        image = np.kron(rng.integers(1, 255, (3, HEIGHT // 8, width // 8)), np.ones((1, 8, 8))).astype(np.uint8)
        if name == "post_a1":
            image[:, 40:100, 90:130] = 0  # a gap that the other image covers
        write_image(folder / f"{name}.tif", image, zone, left)
    rows = ["pre,post,pre_date,post_date"]
    rows += ["pre_a.tif,post_a1.tif,2023-01-01,2023-02-09", "pre_a.tif,post_a2.tif,2023-01-01,2023-02-08"]
    (folder / "pairs.csv").write_text("\n".join([*rows, "pre_b.tif,post_b.tif,2023-01-02,2023-02-07"]) + "\n")
    plan = make_plan(read_catalogue(folder / "pairs.csv"))
    write_plan(folder / "campaign", plan, "")
    return folder / "campaign"


def write_image(path: Path, image: np.ndarray, zone: int, left: float) -> None:
    _, height, width = image.shape
    georeference = {"crs": f"EPSG:326{zone}", "transform": Affine(PIXEL, 0, left, 0, -PIXEL, _TOP)}
    size = {"count": 3, "height": height, "width": width, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", photometric="RGB", **size, **georeference) as target:
        target.write(image)


def write_footprints(path: Path) -> Path:
    """Write squares of 6 m in degrees over all images, one on the border of the tiles and two far from any image."""
    frames = []
    for zone, left, right in ((36, _WEST_EDGE + 3, EDGE + 80), (37, _EAST + 3, _EAST + 80)):
        corners = [(x, y) for x in range(left, right - 6, 8) for y in range(_TOP - 70, _TOP - 9, 10)]
        squares = [shapely.box(x, y, x + 6, y + 6) for x, y in corners]
        squares.append(shapely.box(left + 5000, _TOP, left + 5006, _TOP + 6))
        frames.append(gpd.GeoSeries(squares, crs=f"EPSG:326{zone}").to_crs(4326))
    shapes = pd.concat(frames, ignore_index=True)
    shapes = shapes.sample(frac=1, random_state=1).to_numpy()
    ids = [f"b{number}" for number in range(len(shapes))]
    gpd.GeoDataFrame({"id": ids}, geometry=shapes, crs=4326).to_file(path, engine="pyogrio")
    return path


def copy_plan(site: Path, name: str) -> Path:
    """Return another folder with the same plan."""
    (site / name).mkdir()
    for file in ("plan.csv", "images.geojson"):
        shutil.copy(site / "campaign" / file, site / name)
    return site / name


def products(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all results except run.json, which contains times."""
    found = [path for path in folder.rglob("*") if path.is_file() and "inputs" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name != "run.json"}
