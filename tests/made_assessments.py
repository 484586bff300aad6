"""Writes assessments of a campaign with random pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from shapely import Polygon

from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.buildings import valid_area
from xview2_siamese_unet.inference.geopackage import write_geopackage
from xview2_siamese_unet.raster.cog import RasterContent, write_cog
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import BANDS, LEVELS, NO_DATA

COLOURS = {int(code): (*code.rgb, 255 if code else 0) for code in Damage}


def write_rasters(scene: Path, grid: Grid, seed: int) -> None:
    """Write random codes and probabilities; a fifth of the pixels have no data."""
    rng = np.random.default_rng(seed)
    shape = grid.height, grid.width
    hole = rng.random(shape) < 0.2
    hole[: grid.height // 4] = True
    codes = np.where(hole, NO_DATA, rng.integers(0, 6, shape)).astype(np.uint8)
    shares = np.where(hole, NO_DATA, rng.integers(0, 255, (5, *shape))).astype(np.uint8)
    whole = slice(0, grid.height), slice(0, grid.width)
    tags = {"RUN": scene.name, "CLASS_4": "destroyed"}
    write_cog(scene / "damage.tif", RasterContent(grid, ("damage",), [(*whole, codes[None])], COLOURS, tags=tags))
    write_cog(scene / "probability.tif", RasterContent(grid, BANDS, [(*whole, shares)], scale=1 / LEVELS, tags=tags))


def write_layers(scene: Path, grid: Grid, obscured: Sequence[Polygon] = ()) -> gpd.GeoDataFrame:
    """Write the GeoPackage without buildings; return the area with data."""
    area = valid_area(scene / "damage.tif", grid)
    frames = [("valid_area", area)]
    if obscured:
        frames.append(("obscured", gpd.GeoDataFrame(geometry=[*obscured], crs=grid.crs)))
    write_geopackage(scene / "buildings.gpkg", frames, {}, "2023-01-01T00:00:00.000Z")
    return area


def write_assessment(task: Task, grid: Grid, seed: int, model: Mapping[str, Any] | None = None) -> None:
    """Write rasters, layers, a report and the record."""
    scene = task.scene
    write_rasters(scene, grid, seed)
    area = write_layers(scene, grid)
    area.to_crs(4326).to_file(scene / "buildings.geojson", driver="GeoJSON", engine="pyogrio")
    (scene / "report.html").write_text(f"<p>{seed}</p>")
    names = ["damage.tif", "probability.tif", "buildings.gpkg", "buildings.geojson", "report.html"]
    record = {
        "run_id": f"{seed:012}",
        "code": "1.0.0",
        "versions": {"numpy": "2.0"},
        "model": model or {"id": "abc", "fingerprint": "abcdef", "dataset": "xbd"},
        "products": {name: hashlib.sha256((scene / name).read_bytes()).hexdigest() for name in names},
    }
    (scene / "run.json").write_text(json.dumps(record))
