"""Every footprint of the input is a row of the output, with its id, its geometry and a status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from shapely.affinity import rotate

from image_pair import fill
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.datasets.assessment import LayersDataset
from xview2_siamese_unet.datasets.rasters import CogDataset
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.record import Predicted
from xview2_siamese_unet.pipelines.inference import nodes
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

Write = Callable[..., Path]
LEFT, TOP, DOWN, ACROSS = 500_000.0, 4_000_000.0, 84, 105  # metres, whole pixels of each size
PIXELS = {"whole": 0.5, "gaps": 0.3, "long": 0.35, "text": 0.6}
FRAME = shapely.box(LEFT, TOP - DOWN, LEFT + ACROSS, TOP)
UTM = "EPSG:32615"
FINE = 10  # points along a side of a pixel
SYSTEMS = {"gpkg": UTM, "geojson": "OGC:CRS84", "geojsonl": "OGC:CRS84", "fgb": "EPSG:32616", "shp": "EPSG:3857"}


def shapes(random: np.random.Generator, count: int) -> list[Any]:
    """Return valid geometry of every kind, inside of the images, across their edge and elsewhere."""
    geometries: list[Any] = []
    for number in range(count):
        x, y = random.uniform(-15, 115), random.uniform(-15, 95)
        one = rotate(
            shapely.box(LEFT + x, TOP - y, LEFT + x + random.uniform(3, 20), TOP - y + 6), random.uniform(0, 90)
        )
        holed = one.difference(one.centroid.buffer(1.5))
        two = shapely.MultiPolygon([one, shapely.affinity.translate(one, 30, 0)])
        mixed = shapely.GeometryCollection([one, one.centroid])
        far = shapely.affinity.translate(one, 3_000, 0)
        kinds = [one, holed, two, shapely.force_3d(one, 4), far, None, shapely.Polygon(), mixed]
        geometries.append(kinds[number % len(kinds)] if number < len(kinds) else kinds[random.integers(2)])
    return geometries


def names(kind: str, random: np.random.Generator, count: int) -> tuple[Any, list[str | None]]:
    """Return a column of ids and their text."""
    numbers = [int(number) for number in random.choice(10**6, count, replace=False)]
    if kind == "long":
        numbers = [2**53 + 1 + 2 * number for number in numbers]
    if kind == "text":
        return [f"way/0{number}" for number in numbers], [f"way/0{number}" for number in numbers]
    gaps = [None if kind != "whole" and row % 4 == 1 else number for row, number in enumerate(numbers)]
    return pd.array(gaps, dtype="Int64"), [None if number is None else str(number) for number in gaps]


def write_footprints(path: Path, column: Any, geometry: list[Any]) -> Path:  # noqa: ANN401
    """Write footprints in the format of the ending, in a system that differs from format to format."""
    if path.suffix == ".fgb":  # 2D or 3D as a whole
        geometry = [shape if shape is None else shapely.force_2d(shape) for shape in geometry]
    if path.suffix == ".shp":  # holds no collections
        geometry = [shape if shape is None else polygon(shape) for shape in geometry]
    frame = gpd.GeoDataFrame({"id": column}, geometry=geometry, crs=UTM)
    if path.suffix == ".parquet":
        frame.to_crs("EPSG:32614").to_parquet(path)
        return path
    more = {".fgb": {"SPATIAL_INDEX": "NO"}, ".geojsonl": {"COORDINATE_PRECISION": 9}}.get(path.suffix, {})
    kind = None if path.suffix == ".shp" else "Unknown"
    frame = frame.to_crs(SYSTEMS[path.suffix[1:]])
    pyogrio.write_dataframe(frame, path, geometry_type=kind, **more)
    return path


def assess(params: InferenceParams, folder: Path) -> tuple[gpd.GeoDataFrame, tuple[str, ...]]:
    """Run the nodes with a model that predicts destroyed buildings everywhere; read the buildings back."""
    harmonised = harmonise(params)
    grid = harmonised.pair.grid
    plan, store = WindowPlan(grid.height, grid.width, 64, 16), BlockStore(folder / "blocks" / "r")
    probabilities = np.array([0.1, 0.05, 0.05, 0.1, 0.7], np.float32)
    fill(harmonised.pair, plan, lambda pre, _: np.broadcast_to(probabilities, (*pre.shape[:3], 5)), store, 4)
    source = {"name": "x", "date": None}
    record = {"pre": source, "post": source, "model": {"id": "m"}, "run_id": "r", "code": "0", "vote_weights": None}
    predicted = Predicted(harmonised.pair, plan, record, "2026-01-01T00:00:00.000Z")
    paths = [folder / f"{name}.tif" for name in ("damage", "probability")]
    *rasters, _style = nodes.write_rasters(predicted, folder / "blocks")
    for path, content in zip(paths, rasters, strict=True):
        CogDataset(filepath=str(path)).save(content)
    outlines, _ = nodes.outline_buildings(harmonised, params, *paths)
    package = LayersDataset(filepath=str(folder / "buildings.gpkg"))
    package.save(nodes.vote_buildings(outlines, harmonised, predicted, *paths, params))
    return read_building_layer(package.load()), harmonised.warnings


def visible_share(shape: Any, with_data: np.ndarray) -> float:  # noqa: ANN401
    """Return the share of a polygon over pixels with data, from points on a fine lattice."""
    west, south, east, north = shape.bounds
    pixel = DOWN / len(with_data)
    step = pixel / FINE
    x, y = np.meshgrid(np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step))
    inside = shapely.contains_xy(shape, x, y)
    column, row = np.floor((x[inside] - LEFT) / pixel).astype(int), np.floor((TOP - y[inside]) / pixel).astype(int)
    inside_image = (column >= 0) & (column < with_data.shape[1]) & (row >= 0) & (row < len(with_data))
    return float(with_data[row[inside_image], column[inside_image]].sum() / inside.sum())


def polygon(shape: Any) -> Any:  # noqa: ANN401
    """Return the polygons of a geometry."""
    if shape is None or shape.is_empty:
        return shapely.MultiPolygon()
    return shapely.union_all([part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"])


@pytest.mark.parametrize(
    ("ending", "kind"),
    [*((ending, "gaps") for ending in [*SYSTEMS, "parquet"]), *(("gpkg", kind) for kind in ("whole", "long", "text"))],
)
def test_rows_ids_and_geometry_are_kept_and_the_status_is_that_of_the_visible_share(
    tmp_path: Path, write_raster: Write, ending: str, kind: str
) -> None:
    random = np.random.default_rng([2, *ending.encode(), *kind.encode()])
    pixel = PIXELS[kind]
    height, width = round(DOWN / pixel), round(ACROSS / pixel)
    images = random.integers(1, 255, (2, height, width, 3), dtype=np.uint8)
    for image in images:
        row, column = random.integers(height), random.integers(width)
        image[row : row + 60, column : column + 70] = 0
    transform = Affine(pixel, 0, LEFT, 0, -pixel, TOP)
    pre, post = (
        write_raster(f"{name}.tif", image, transform) for name, image in zip(("pre", "post"), images, strict=True)
    )
    footprints, (column, expected) = shapes(random, 24), names(kind, random, 24)
    path = write_footprints(tmp_path / f"houses.{ending}", column, footprints)
    buildings, warnings = assess(InferenceParams(pre=pre, post=post, footprints=path, registration="off"), tmp_path)
    assert [None if pd.isna(value) else value for value in buildings["building_id"]] == expected
    assert any("have no value in column 'id'" in warning for warning in warnings) == (None in expected)
    with_data = (images > 0).any(axis=3).all(axis=0)
    for shape, row in zip(map(polygon, footprints), buildings.itertuples(), strict=True):
        check(shape, row, with_data)


def check(shape: Any, row: Any, with_data: np.ndarray) -> None:  # noqa: ANN401
    """Compare a building of the output with its footprint."""
    if shape.is_empty:
        assert (row.status, row.reason) == ("not_assessed", "no polygon")
        assert row.geometry is None or row.geometry.is_empty
        return
    assert shapely.hausdorff_distance(row.geometry, shape) < 0.02
    assert row.geometry.symmetric_difference(shape).area < 0.01 * shape.area
    area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(degrees(shape))
    assert row.area_m2 == pytest.approx(abs(area), rel=1e-3)
    visible = visible_share(shape, with_data)
    assert row.visible_fraction == pytest.approx(visible, abs=0.01)
    if abs(visible - 0.5) > 0.01:
        assert row.status == ("assessed" if visible > 0.5 else "not_assessed")
        assert row.damage_label == "destroyed" if visible > 0.5 else pd.isna(row.damage_label)
    if not shape.intersects(FRAME):
        assert row.reason.startswith("outside the overlap")


def degrees(shape: Any) -> Any:  # noqa: ANN401
    convert = pyproj.Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True).transform
    return shapely.transform(shape, convert, interleaved=False)
