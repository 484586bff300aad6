"""Probabilities of pixels → one answer a building, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import rasterio
import shapely
from exactextract import exact_extract

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.params.inference import BuildingParams
from xview2_siamese_unet.raster.grid import Grid

FloatArray = npt.NDArray[np.float64]
SHARES: Final = ("p_none", "p_minor", "p_major", "p_destroyed")
ASSESSED: Final = "assessed"
NOT_ASSESSED: Final = "not_assessed"
ABSTAINED: Final = "abstained"
_SEEN_AS_BUILDING: Final = 1 / 254  # mean probability below which the stored bytes cannot tell classes apart


def vote(outlines: gpd.GeoDataFrame, probability: Path, grid: Grid, params: BuildingParams) -> gpd.GeoDataFrame:
    """Return the outlines with class, probabilities, confidence and status; rows and order stay.

    Every pixel votes with the share of it that the outline covers times its probability of being building.

    Args:
        outlines: `building_id` and polygons in the system of the grid.
        probability: raster of five bands, background and the four damage classes, in steps of 1/254.
        grid: grid of that raster.
        params: when a building is judged.
    """
    sums, covered = _zonal(outlines, probability)
    area = shapely.area(outlines.geometry.to_numpy())
    visible = np.divide(covered * grid.pixel**2, area, out=np.zeros(len(area)), where=area > 0).clip(0, 1)
    built = 1 - sums[:, 0]
    mass = sums[:, 1:].sum(axis=1)
    shares = np.divide(sums[:, 1:], mass[:, None], out=np.full((len(area), 4), np.nan), where=mass[:, None] > 0)
    frame = outlines[["building_id", "footprint_source", outlines.geometry.name]].copy()
    frame["visible_fraction"], frame["built_fraction"] = visible.round(4), np.where(covered > 0, built, np.nan).round(4)
    frame["area_m2"] = geodesic_areas(outlines).round(2)
    frame["status"], frame["reason"] = _status(outlines, grid, visible, built, shares, params)
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
    visible: FloatArray,
    built: FloatArray,
    shares: FloatArray,
    params: BuildingParams,
) -> tuple[list[str], list[str | None]]:
    frame = shapely.box(*grid.bounds)
    confidence = np.nan_to_num(shares).max(axis=1)
    found: list[tuple[str, str | None]] = []
    for row, shape in enumerate(outlines.geometry):
        if shape.is_empty:
            found.append((NOT_ASSESSED, "no polygon"))
        elif not frame.intersects(shape):
            found.append((NOT_ASSESSED, "outside the overlap of the two dates"))
        elif visible[row] == 0:
            found.append((NOT_ASSESSED, "no data"))
        elif visible[row] < params.min_visible:
            found.append((NOT_ASSESSED, f"only {visible[row]:.0%} of it has data in both dates"))
        elif built[row] < _SEEN_AS_BUILDING or confidence[row] == 0:
            found.append((ABSTAINED, "the model sees no building here"))
        elif confidence[row] < params.abstain_below:
            found.append((ABSTAINED, f"confidence below {params.abstain_below:g}"))
        else:
            found.append((ASSESSED, None))
    return [status for status, _ in found], [reason for _, reason in found]


def _zonal(outlines: gpd.GeoDataFrame, probability: Path) -> tuple[FloatArray, FloatArray]:
    """Return mean probabilities (n, 5) by coverage and the number of pixels with data (n,), each a sum of shares."""
    sums, covered = np.zeros((len(outlines), 5)), np.zeros(len(outlines))
    rows = np.flatnonzero(~outlines.geometry.is_empty.to_numpy())
    if not len(rows):
        return sums, covered
    wanted = gpd.GeoDataFrame({"row": rows}, geometry=outlines.geometry.to_numpy()[rows], crs=outlines.crs)
    with rasterio.open(probability, driver="GTiff") as raster:
        table: Any = exact_extract(
            raster, wanted, ["mean", "count"], include_cols=["row"], output="pandas", strategy="feature-sequential"
        )
    place = table["row"].to_numpy(int)
    means = table[[f"band_{band}_mean" for band in range(1, 6)]].to_numpy(float, na_value=np.nan)
    sums[place] = np.nan_to_num(means) / 254
    covered[place] = np.nan_to_num(table["band_1_count"].to_numpy(float))
    return sums, covered


def geodesic_areas(frame: gpd.GeoDataFrame) -> FloatArray:
    """Return areas in square metres on the ellipsoid, which no projection distorts."""
    geod = pyproj.Geod(ellps="WGS84")
    degrees = frame.geometry.to_crs("OGC:CRS84")
    return np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in degrees], float)
