"""Probabilities of pixels to one class for each building, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import rasterio
import shapely
from exactextract import exact_extract
from exactextract.raster import RasterSource
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.config.inference import BuildingParams
from xview2_siamese_unet.config.modelling import VoteWeights
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.probability import BANDS, LEVELS, NO_DATA

FloatArray = npt.NDArray[np.float64]
SHARES: Final = ("p_none", "p_minor", "p_major", "p_destroyed")
ASSESSED: Final = "assessed"
NOT_ASSESSED: Final = "not_assessed"
ABSTAINED: Final = "abstained"
_SEEN_AS_BUILDING: Final = 1 / LEVELS  # mean probability below which the stored bytes cannot tell classes apart


def vote(
    outlines: gpd.GeoDataFrame,
    probability: Path,
    grid: Grid,
    params: BuildingParams,
    aoi: BaseGeometry | None = None,
    weights: VoteWeights = (1.0, 1.0, 1.0, 1.0),
) -> gpd.GeoDataFrame:
    """Return the outlines with class, probabilities, confidence and status; rows and order stay.

    Every visible pixel votes with the share of it that the outline covers times its probability of being building.
    For outlines along pixels that is the vote of `nets.postprocess`.

    Args:
        outlines: `building_id` and polygons in the system of the grid.
        probability: raster of five bands, background and the four damage classes, in steps of 1/254.
        grid: grid of that raster.
        params: when a building is judged.
        aoi: area of interest in the system of the grid; pixels outside of it are no data in the raster.
        weights: what the mean probabilities of no damage to destroyed count.
    """
    zonal = _zonal(outlines, probability, grid)
    damage = zonal.means[:, 1:] * weights
    mass = damage.sum(axis=1, keepdims=True)
    shares = np.divide(damage, mass, out=np.full(damage.shape, np.nan), where=mass > 0)
    frame = outlines[["building_id", "footprint_source", outlines.geometry.name]].copy()
    frame["visible_fraction"] = zonal.visible.round(4)
    frame["built_fraction"] = np.where(zonal.visible > 0, zonal.built, np.nan).round(4)
    frame["area_m2"] = geodesic_areas(outlines).round(2)
    frame["status"], frame["reason"] = _status(outlines, grid, aoi, zonal, shares, params)
    return _answer(frame, shares)


def _answer(frame: gpd.GeoDataFrame, shares: FloatArray) -> gpd.GeoDataFrame:
    known = (frame["status"] != NOT_ASSESSED).to_numpy() & np.isfinite(shares).all(axis=1)
    judged = (frame["status"] == ASSESSED).to_numpy()
    ranked = np.sort(shares, axis=1)
    codes = np.argmax(np.nan_to_num(shares), axis=1) + int(Damage.NO_DAMAGE)
    frame["damage"] = pd.array(np.where(judged, codes, 0), dtype="Int8")
    frame.loc[~judged, "damage"] = pd.NA
    frame["damage_label"] = [Damage(code).word if there else None for code, there in zip(codes, judged, strict=True)]
    for column, name in enumerate(SHARES):
        frame[name] = np.where(known, shares[:, column], np.nan)
    frame["confidence"] = np.where(known, ranked[:, -1], np.nan).round(4)
    frame["margin"] = np.where(known, ranked[:, -1] - ranked[:, -2], np.nan).round(4)
    return frame


def _status(
    outlines: gpd.GeoDataFrame,
    grid: Grid,
    aoi: BaseGeometry | None,
    zonal: _Zonal,
    shares: FloatArray,
    params: BuildingParams,
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.object_]]:
    """Return status and reason of each building; the first rule that holds decides."""
    shapes, visible = outlines.geometry.to_numpy(), zonal.visible
    confidence = np.nan_to_num(shares).max(axis=1, initial=0)
    elsewhere = np.zeros(len(shapes), bool) if aoi is None else ~shapely.intersects(shapes, aoi)
    where = "in both images" if aoi is None else "in both images and inside the area of interest"
    partly = np.array([f"only {share:.0%} of it is visible {where}" for share in visible], object)
    rules: list[tuple[npt.NDArray[np.bool_], str, Any]] = [
        (shapely.is_empty(shapes), NOT_ASSESSED, "no polygon"),
        (~shapely.intersects(shapes, shapely.box(*grid.bounds)), NOT_ASSESSED, "outside the overlap of the images"),
        (elsewhere, NOT_ASSESSED, "outside the area of interest"),
        (visible == 0, NOT_ASSESSED, "no data"),
        (visible < params.min_visible, NOT_ASSESSED, partly),
        ((zonal.built < _SEEN_AS_BUILDING) | (confidence == 0), ABSTAINED, "the model sees no building here"),
        (confidence < params.abstain_below, ABSTAINED, f"confidence below {params.abstain_below:g}"),
        (np.ones(len(shapes), bool), ASSESSED, None),
    ]
    held = [rule for rule, _, _ in rules]
    reasons: list[Any] = [np.broadcast_to(np.asarray(why, object), visible.shape) for _, _, why in rules]
    return np.select(held, [status for _, status, _ in rules], ""), np.select(held, reasons, "")


class _Zonal(NamedTuple):
    """Figures of n buildings, each pixel weighted by the share of it that the outline covers.

    Attributes:
        means: mean probability of background and the four damage classes (n, 5); 0 where nothing is visible.
        visible: share of the outline's area that has data (n,).
    """

    means: FloatArray
    visible: FloatArray

    @property
    def built(self) -> FloatArray:
        """Mean probability of building (n,)."""
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

    def read_window(self, x0: int, y0: int, nx: int, ny: int) -> npt.NDArray[np.uint8]:
        values: npt.NDArray[np.uint8] = self._raster.read(self._number, window=Window(x0, y0, nx, ny))
        return values


def _zonal(outlines: gpd.GeoDataFrame, probability: Path, grid: Grid) -> _Zonal:
    """Return the figures of each outline; memory does not grow with the raster."""
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
    place = table["row"].to_numpy(int)
    columns = [f"band_{number}_mean" for number in range(1, len(BANDS) + 1)]
    means[place] = np.nan_to_num(table[columns].to_numpy(float, na_value=np.nan)) / LEVELS
    covered = np.nan_to_num(table["band_1_count"].to_numpy(float))
    visible[place] = (covered / shapely.area(in_pixels)).clip(0, 1)
    return _Zonal(means, visible)


def geodesic_areas(frame: gpd.GeoDataFrame) -> FloatArray:
    """Return areas in square metres on the ellipsoid, which no projection distorts."""
    geod = pyproj.Geod(ellps="WGS84")
    degrees = frame.geometry.to_crs("OGC:CRS84")
    return np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in degrees], float)
