"""Buildings of an assessment: outlines, a class by zonal vote or the reason for none, layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import pyproj
import rasterio
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import RasterSource
from rasterio.enums import Resampling
from rasterio.features import shapes
from rasterio.windows import Window
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.config.inference import BuildingParams
from xview2_siamese_unet.config.modelling import VoteWeights
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import BANDS, LEVELS, NO_DATA
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.types import BoolArray, ClassMeans, Float64Array, Mask, Numbers

Polygons = Any  # numpy array of shapely polygons, for which there is no type
SHARES: Final = ("p_none", "p_minor", "p_major", "p_destroyed")
ASSESSED: Final = "assessed"
NOT_ASSESSED: Final = "not_assessed"
ABSTAINED: Final = "abstained"
NO_MODEL: Final = "no model"
"""Reason of a visible building in an assessment without a model."""
OBSCURED: Final = "obscured"
"""Reason of a building hidden by clouds, haze, smoke, night or a mask of the vendor."""
CEMS: Final = {1: "No visible damage", 2: "Possibly damaged", 3: "Damaged", 4: "Destroyed"}
"""Our reading of the classes in words of Copernicus EMS rapid mapping; not an official crosswalk."""
CEMS_UNKNOWN: Final = "Not analysed"
_NO_BUILDING: Final = 1 / LEVELS  # mean probability below which the stored bytes cannot tell classes apart
_BLOCK: Final = 2048  # pixels along the sides of a block, and of the overview for the valid area


def building_outlines(path: Path, *, min_area: float, side: int = _BLOCK) -> tuple[Polygons, int]:
    """Return the predicted buildings, from north to south, and how many were too small.

    Buildings are connected components of pixels that share a side. Blocks of `side` pixels bound the memory and do not
    change the result.

    Args:
        path: raster of damage codes on a grid in metres.
        min_area: square metres below which a component is left out.
        side: pixels.
    """
    whole: list[Any] = []
    cut: list[Any] = []
    with rasterio.open(path, driver="GTiff") as raster:
        for window in _blocks(raster.width, raster.height, side):
            codes = raster.read(1, window=window)
            building = (codes != Damage.BACKGROUND) & (codes != NO_DATA)
            if building.any():
                left, top = window.col_off, window.row_off
                frame = shapely.box(left, top, left + window.width, top + window.height)
                # Whole pixels: in metres, two blocks round their common edge differently, and nothing would join.
                for outline, _ in shapes(building.view(np.uint8), building, transform=Affine.translation(left, top)):
                    polygon = shape(outline)
                    (whole if frame.contains_properly(polygon) else cut).append(polygon)
        transform = raster.transform
    joined: Any = shapely.get_parts(shapely.union_all(cut)) if cut else []
    polygons = np.array([*whole, *joined], dtype=object)
    polygons = shapely.transform(polygons, lambda points: np.column_stack(transform @ tuple(points.T)))
    large = shapely.area(polygons) >= min_area
    # Seams leave vertices on straight edges; `normalize` starts each ring where it starts without the seam.
    tidy = shapely.normalize(shapely.simplify(shapely.normalize(polygons[large]), 1e-6))
    bounds = shapely.bounds(tidy)
    return tidy[np.lexsort((bounds[:, 1], bounds[:, 0], -bounds[:, 3]))], int((~large).sum())


def _blocks(width: int, height: int, side: int) -> Iterator[Window]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(left, top, min(side, width - left), min(side, height - top))


def model_buildings(polygons: Polygons, grid: Grid) -> gpd.GeoDataFrame:
    """Return the buildings of the model with ids from their position in decimetres."""
    points = shapely.get_coordinates(shapely.point_on_surface(polygons)) if len(polygons) else np.empty((0, 2))
    ids = np.array([f"{round(east * 10)}_{round(north * 10)}" for east, north in points], np.str_)  # text if empty, too
    return gpd.GeoDataFrame({"building_id": ids, "footprint_source": "model"}, geometry=polygons, crs=grid.crs)


def assess_buildings(
    outlines: gpd.GeoDataFrame,
    probability: Path,
    grid: Grid,
    params: BuildingParams,
    aoi: BaseGeometry | None = None,
    weights: VoteWeights = (1.0, 1.0, 1.0, 1.0),
) -> gpd.GeoDataFrame:
    """Return the buildings with class, probabilities, confidence and status, in the same order.

    Each visible pixel votes with its probability of building, times the share of it that the outline covers.
    For outlines along pixel edges, this is the vote of `models.vote`.

    Args:
        outlines: `building_id` and polygons in the system of the grid.
        probability: raster of background and the four damage classes, in steps of 1/254.
        grid: of that raster.
        params: conditions for a building to be assessed.
        aoi: area of interest in the system of the grid; pixels outside of it have no data in the raster.
        weights: factors of the mean probabilities of no damage to destroyed.
    """
    zonal = _zonal_means(outlines, probability, grid)
    damage = zonal.means[:, 1:] * weights
    mass = damage.sum(axis=1, keepdims=True)
    shares = np.divide(damage, mass, out=np.full(damage.shape, np.nan), where=mass > 0)
    frame = outlines[["building_id", "footprint_source", outlines.geometry.name]].copy()
    frame["visible_fraction"] = zonal.visible.round(4)
    frame["built_fraction"] = np.where(zonal.visible > 0, zonal.built, np.nan).round(4)
    frame["area_m2"] = geodesic_areas(outlines).round(2)
    frame["status"], frame["reason"] = _status(outlines, grid, aoi, zonal, shares, params)
    return with_classes(frame, shares)


def with_classes(frame: gpd.GeoDataFrame, shares: Float64Array) -> gpd.GeoDataFrame:
    """Return the buildings with the most probable class, probabilities, confidence and margin.

    Args:
        frame: buildings with `status`: only assessed ones get a class; abstained ones get probabilities.
        shares: probabilities of no damage to destroyed (n, 4); NaN if unknown.
    """
    frame = frame.copy()
    known = (frame["status"] != NOT_ASSESSED).to_numpy() & np.isfinite(shares).all(axis=1)
    assessed = (frame["status"] == ASSESSED).to_numpy()
    ranked = np.sort(shares, axis=1)
    codes = np.argmax(np.nan_to_num(shares), axis=1) + int(Damage.NO_DAMAGE)
    frame["damage"] = pd.array(np.where(assessed, codes, 0), dtype="Int8")
    frame.loc[~assessed, "damage"] = pd.NA
    words = [Damage(code).word if one else None for code, one in zip(codes, assessed, strict=True)]
    frame["damage_label"] = np.array(words, object)
    for column, name in enumerate(SHARES):
        frame[name] = np.where(known, shares[:, column], np.nan)
    frame["confidence"] = np.where(known, ranked[:, -1], np.nan).round(4)
    frame["margin"] = np.where(known, ranked[:, -1] - ranked[:, -2], np.nan).round(4)
    return frame


def hide_obscured(
    frame: gpd.GeoDataFrame, obscured: gpd.GeoDataFrame | None, params: BuildingParams
) -> gpd.GeoDataFrame:
    """Add `obscured_fraction`; buildings of which too little is visible are not assessed.

    Args:
        frame: as `assess_buildings` returns it.
        obscured: polygons in its system that do not overlap; `None`: no obscured area.
        params: conditions for a building to be assessed.
    """
    outlines, share = frame.geometry.to_numpy(), np.zeros(len(frame))
    if obscured is not None:
        pieces = obscured.geometry.to_numpy()
        row, piece = shapely.STRtree(pieces).query(outlines, predicate="intersects")
        common = shapely.area(shapely.intersection(outlines[row], pieces[piece])) / shapely.area(outlines[row])
        share = np.bincount(row, common, minlength=len(frame)).clip(0, 1)
    frame = frame.assign(obscured_fraction=share.round(4))
    hidden = (frame["status"] != NOT_ASSESSED) & (share > 0) & (frame["visible_fraction"] - share < params.min_visible)
    frame.loc[hidden, ["status", "reason"]] = [NOT_ASSESSED, OBSCURED]
    return with_classes(frame, frame[list(SHARES)].to_numpy(float))


def without_model(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the buildings of an assessment without a model: visible ones are not assessed either."""
    visible = frame["status"] != NOT_ASSESSED
    frame = frame.assign(built_fraction=np.nan)
    frame.loc[visible, ["status", "reason"]] = [NOT_ASSESSED, NO_MODEL]
    return frame


def _status(
    outlines: gpd.GeoDataFrame,
    grid: Grid,
    aoi: BaseGeometry | None,
    zonal: _Zonal,
    shares: Float64Array,
    params: BuildingParams,
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.object_]]:
    """Return status and reason of each building; the first rule that holds decides."""
    polygons, visible = outlines.geometry.to_numpy(), zonal.visible
    confidence = np.nan_to_num(shares).max(axis=1, initial=0)
    elsewhere = np.zeros(len(polygons), bool) if aoi is None else ~shapely.intersects(polygons, aoi)
    where = "in both images" if aoi is None else "in both images and inside the area of interest"
    partly = np.array([f"only {share:.0%} of it is visible {where}" for share in visible], object)
    rules: list[tuple[BoolArray, str, Any]] = [
        (shapely.is_empty(polygons), NOT_ASSESSED, "no polygon"),
        (~shapely.intersects(polygons, shapely.box(*grid.bounds)), NOT_ASSESSED, "outside the overlap of the images"),
        (elsewhere, NOT_ASSESSED, "outside the area of interest"),
        (visible == 0, NOT_ASSESSED, "no data"),
        (visible < params.min_visible, NOT_ASSESSED, partly),
        ((zonal.built < _NO_BUILDING) | (confidence == 0), ABSTAINED, "the model predicts no building here"),
        (confidence < params.abstain_below, ABSTAINED, f"confidence below {params.abstain_below:g}"),
        (np.ones(len(polygons), bool), ASSESSED, None),
    ]
    holds = [rule for rule, _, _ in rules]
    reasons: list[Any] = [np.broadcast_to(np.asarray(why, object), visible.shape) for _, _, why in rules]
    return np.select(holds, [status for _, status, _ in rules], ""), np.select(holds, reasons, "")


class _Zonal(NamedTuple):
    """Statistics of n buildings, each pixel weighted by the share of it that the outline covers.

    Attributes:
        means: mean probability of background and the four damage classes; 0 if nothing is visible.
        visible: share of the outline's area that has data.
    """

    means: ClassMeans
    visible: Numbers

    @property
    def built(self) -> Numbers:
        """Mean probability of building."""
        return 1 - self.means[:, 0]


class _Band(RasterSource):  # type: ignore[misc]  # exactextract has no types
    """One band as stored, in pixels: columns from the left edge, rows from the bottom edge.

    In metres, exactextract silently drops the mask of no data wherever the extent divided by the size of a pixel is
    not exact in binary (0.3 m); whole numbers are. It would also apply the scale of the band.
    """

    def __init__(self, raster: Any, number: int) -> None:  # noqa: ANN401
        super().__init__()
        self._raster, self._number = raster, number
        self.set_name(f"band_{number}")

    def res(self) -> tuple[float, float]:
        return 1.0, 1.0

    def extent(self) -> tuple[float, float, float, float]:
        return 0.0, 0.0, float(self._raster.width), float(self._raster.height)

    def nodata_value(self) -> int:
        return NO_DATA

    def srs_wkt(self) -> None:
        return None

    def read_window(self, x0: int, y0: int, nx: int, ny: int) -> Mask:
        values: Mask = self._raster.read(self._number, window=Window(x0, y0, nx, ny))
        return values


def _zonal_means(outlines: gpd.GeoDataFrame, probability: Path, grid: Grid) -> _Zonal:
    """Return the statistics of each outline; memory does not grow with the raster."""
    means, visible = np.zeros((len(outlines), len(BANDS))), np.zeros(len(outlines))
    rows = np.flatnonzero(~outlines.geometry.is_empty.to_numpy())
    if not len(rows):
        return _Zonal(means, visible)
    origin = np.array([grid.left, grid.bounds[1]])
    in_pixels = shapely.transform(outlines.geometry.to_numpy()[rows], lambda xy: (xy - origin) / grid.pixel)
    with rasterio.open(probability, driver="GTiff") as raster:
        table: Any = exact_extract(
            [_Band(raster, number) for number in range(1, len(BANDS) + 1)],
            gpd.GeoDataFrame({"row": rows}, geometry=in_pixels, crs=outlines.crs),  # a system is required
            ["mean", "count"],
            include_cols=["row"],
            output="pandas",
            strategy="feature-sequential",
        )
    row = table["row"].to_numpy(int)
    columns = [f"band_{number}_mean" for number in range(1, len(BANDS) + 1)]
    means[row] = np.nan_to_num(table[columns].to_numpy(float, na_value=np.nan)) / LEVELS
    covered = np.nan_to_num(table["band_1_count"].to_numpy(float))
    visible[row] = (covered / shapely.area(in_pixels)).clip(0, 1)
    return _Zonal(means, visible)


def geodesic_areas(frame: gpd.GeoDataFrame) -> Numbers:
    """Return areas in square metres on the ellipsoid, which no projection distorts."""
    geod = pyproj.Geod(ellps="WGS84")
    degrees = frame.geometry.to_crs("OGC:CRS84")
    return np.array([abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in degrees], float)


def simplify_outlines(buildings: gpd.GeoDataFrame, metres: float) -> gpd.GeoDataFrame:
    """Return the buildings with simplified outlines, and their new areas."""
    simple = buildings.set_geometry(buildings.geometry.simplify(metres))
    return simple.assign(area_m2=geodesic_areas(simple).round(2))


def add_shift(buildings: gpd.GeoDataFrame, pair: Pair) -> gpd.GeoDataFrame:
    """Add `shift_px`, by which the post-disaster image was moved at each building."""
    columns, rows = pair.shift
    total = np.full((2, len(buildings)), [[rows], [columns]], float)
    if pair.field is not None:
        grid, points = pair.grid, buildings.geometry.representative_point()
        y, x = (grid.top - points.y.to_numpy()) / grid.pixel, (points.x.to_numpy() - grid.left) / grid.pixel
        total += pair.field.at(np.nan_to_num(y), np.nan_to_num(x))
    return buildings.assign(shift_px=np.hypot(*total).round(2))


def add_provenance(buildings: gpd.GeoDataFrame, facts: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Add the Copernicus EMS grade and columns with one value; the geometry comes last."""
    buildings = buildings.assign(cems_grade=buildings["damage"].map(CEMS).fillna(CEMS_UNKNOWN), **facts)
    return buildings[[*buildings.columns.drop(buildings.geometry.name), buildings.geometry.name]]


def read_building_layer(package: Path) -> gpd.GeoDataFrame:
    """Return the rows of the first layer of a GeoPackage."""
    return pyogrio.read_dataframe(f"GPKG:{package}", layer=0)  # with the driver: a path may hold an exclamation mark


def area_of_interest(pair: Pair) -> gpd.GeoDataFrame:
    """Return the layer of the area of interest, else of the frame of the grid."""
    frame, crs = shapely.box(*pair.grid.bounds), pair.grid.crs
    if pair.aoi is None:
        return gpd.GeoDataFrame({"name": ["overlap of the two images"]}, geometry=[frame], crs=crs)
    return gpd.GeoDataFrame({"name": ["area of interest"]}, geometry=[pair.aoi.intersection(frame)], crs=crs)


def valid_area(damage: Path, grid: Grid) -> gpd.GeoDataFrame:
    """Return the layer of the area with data in both images, from an overview."""
    with rasterio.open(damage, driver="GTiff") as raster:
        scale = max(1.0, max(grid.width, grid.height) / _BLOCK)
        size = max(1, round(grid.height / scale)), max(1, round(grid.width / scale))
        valid = raster.read(1, out_shape=size, resampling=Resampling.nearest) != raster.nodata
    transform = grid.transform @ Affine.scale(grid.width / size[1], grid.height / size[0])
    parts: list[Any] = [shape(part) for part, _ in shapes(valid.view(np.uint8), valid, transform=transform)]
    return gpd.GeoDataFrame({"name": ["data in both images"]}, geometry=[shapely.MultiPolygon(parts)], crs=grid.crs)
