"""Rows of the layers that an assessment leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.features import shapes
from shapely.geometry import shape

from xview2_siamese_unet.inference.vote import geodesic_areas
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.reader import Pair

_VALID_SIDE: Final = 2048
CEMS: Final = {1: "No visible damage", 2: "Possibly damaged", 3: "Damaged", 4: "Destroyed"}
"""Our reading of the classes in words of Copernicus EMS rapid mapping; not an official crosswalk."""


def model_buildings(polygons: Any, grid: Grid) -> gpd.GeoDataFrame:  # noqa: ANN401
    """Return the model's own outlines with an id made of their place in decimetres, the same in every run."""
    points = shapely.get_coordinates(shapely.point_on_surface(polygons)) if len(polygons) else np.empty((0, 2))
    ids = [f"{round(east * 10)}_{round(north * 10)}" for east, north in points]
    return gpd.GeoDataFrame({"building_id": ids, "footprint_source": "model"}, geometry=polygons, crs=grid.crs)


def read_buildings(package: Path) -> gpd.GeoDataFrame:
    """Return the rows of the first layer of a GeoPackage."""
    return pyogrio.read_dataframe(f"GPKG:{package}", layer=0)  # with the driver: a path may hold an exclamation mark


def straightened(buildings: gpd.GeoDataFrame, metres: float) -> gpd.GeoDataFrame:
    """Return the buildings with outlines that run straight where they leave their pixels by no more than that."""
    straight = buildings.set_geometry(buildings.geometry.simplify(metres))
    return straight.assign(area_m2=geodesic_areas(straight).round(2))


def with_provenance(buildings: gpd.GeoDataFrame, facts: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Return the buildings with columns that are the same for all of them."""
    buildings = buildings.assign(cems_grade=buildings["damage"].map(CEMS).fillna("Not analysed"), **facts)
    return buildings[[*buildings.columns.drop(buildings.geometry.name), buildings.geometry.name]]


def shifts(buildings: gpd.GeoDataFrame, pair: Pair) -> npt.NDArray[np.float64]:
    """Return by how many pixels the image after was moved at each building."""
    columns, rows = pair.shift
    total = np.full((2, len(buildings)), [[rows], [columns]])
    if pair.field is not None:
        grid, points = pair.grid, buildings.geometry.representative_point()
        y, x = (grid.top - points.y.to_numpy()) / grid.pixel, (points.x.to_numpy() - grid.left) / grid.pixel
        total += pair.field.at(np.nan_to_num(y), np.nan_to_num(x))
    lengths: npt.NDArray[np.float64] = np.hypot(*total).round(2)
    return lengths


def area_of_interest(pair: Pair) -> gpd.GeoDataFrame:
    """Return what the user asked for within the grid, else the frame of the grid."""
    frame, grid = shapely.box(*pair.grid.bounds), pair.grid
    if pair.aoi is None:
        return gpd.GeoDataFrame({"name": ["overlap of the two dates"]}, geometry=[frame], crs=grid.crs)
    return gpd.GeoDataFrame({"name": ["area of interest"]}, geometry=[pair.aoi.intersection(frame)], crs=grid.crs)


def valid_area(damage: Path, grid: Grid) -> gpd.GeoDataFrame:
    """Return where both dates hold data, at the resolution of an overview of the damage raster."""
    with rasterio.open(damage, driver="GTiff") as raster:
        scale = max(1.0, max(grid.width, grid.height) / _VALID_SIDE)
        size = max(1, round(grid.height / scale)), max(1, round(grid.width / scale))
        codes = raster.read(1, out_shape=size, resampling=Resampling.nearest)
        transform = grid.transform @ grid.transform.scale(grid.width / size[1], grid.height / size[0])
        seen = codes != raster.nodata
    parts: list[Any] = [shape(found) for found, _ in shapes(seen.view(np.uint8), seen, transform=transform)]
    return gpd.GeoDataFrame({"name": ["data in both dates"]}, geometry=[shapely.MultiPolygon(parts)], crs=grid.crs)
