"""Co-registration: shifts of the post-disaster image and of footprints, in pixels.

Phase correlation of edges: light, season and sensor change grey values, but not roads and roofs. The correlation
surfaces of many windows are added, so that what they share stands out and what a disaster has changed does not. If the
shifts of single windows explain more than one shift for all, a smooth field is fitted to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import geopandas as gpd
import numpy as np
import rasterio
import scipy
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import fft
from scipy.ndimage import binary_dilation, binary_opening, gaussian_gradient_magnitude

from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.reader import Patch, ShiftField
from xview2_siamese_unet.types import Image, Numbers, Points, Surface, Valid

SIDE: Final = 256
"""Pixels along the sides of a window."""
_FARTHEST: Final = 24  # pixels; a larger shift is not searched for
_WIDTH: Final = 1.5  # pixels, standard deviation of the peak that a pure shift makes
_PEAK: Final = 8.0  # standard deviations above the rest of the surface; noise alone reaches about 5
_LOCAL_PEAK: Final = 7.0  # for a single window
_CLOSE: Final = 1.5  # pixels
_HALF: Final = 0.5
_ENOUGH: Final = 0.5  # share of a window with data
_BLURRED: Final = 8  # pixels along a border of the data, which JPEG blurs by a block
_FEWEST: Final = 6  # windows for a field
_NEIGHBOURS: Final = 4
_OUTLIER: Final = 2.5  # pixels from the median of the neighbours
_AGREEING: Final = 0.6  # share of the windows
_SPREAD: Final = 0.75  # pixels; below it, one shift is enough for all
_GAIN: Final = 0.6  # of the error of one shift for all, at windows that the field was not fitted to
_FOLDS: Final = 4
_SMOOTHING: Final = 0.05
_NODE: Final = 128  # pixels between nodes of a field, on a small grid
_MOST_NODES: Final = 33
_FOOTPRINT_WINDOWS: Final = 64


class LocalShift(NamedTuple):
    """The reliable shift of a single window: its number, pixels to the right and down."""

    window: int
    columns: float
    rows: float


@dataclass(frozen=True, slots=True)
class Shift:
    """The shift of the post-disaster image against the pre-disaster image.

    Attributes:
        columns: pixels to the right.
        rows: pixels down.
        confidence: height of the correlation peak in standard deviations.
        windows: number of windows used.
        local: shifts of the windows that are reliable by themselves.
    """

    columns: float
    rows: float
    confidence: float
    windows: int
    local: tuple[LocalShift, ...] = ()

    @property
    def is_reliable(self) -> bool:
        """Whether the peak stands out and most reliable windows agree with it."""
        return self.confidence >= _PEAK and self.is_shared

    @property
    def is_shared(self) -> bool:
        """Whether more than half of the reliable windows agree with it."""
        return self.agreement > _HALF

    @property
    def agreement(self) -> float:
        """Share of the reliable windows that lie close to it; 1 without any."""
        apart = [np.hypot(one.columns - self.columns, one.rows - self.rows) for one in self.local]
        return float(np.mean(np.array(apart) <= _CLOSE)) if apart else 1.0

    @property
    def size(self) -> float:
        """Length in pixels."""
        return float(np.hypot(self.columns, self.rows))


def estimate_shift(patches: Iterable[tuple[Image, Image, Valid]]) -> Shift:
    """Return the shift that windows of both images agree on.

    Args:
        patches: both images, 256 × 256 pixels, and where both hold data.
    """
    total, used, local = np.zeros((SIDE, SIDE)), 0, []
    for number, (pre, post, data) in enumerate(patches):
        valid = _without_borders(data)
        if valid.mean() >= _ENOUGH:
            surface = _correlate(_edges(pre, valid), _edges(post, valid))
            total += surface
            used += 1
            columns, rows, confidence = _peak(surface)
            if confidence >= _LOCAL_PEAK:
                local.append(LocalShift(number, round(columns, 2), round(rows, 2)))
    return Shift(*_peak(total), used, tuple(local)) if used else Shift(0.0, 0.0, 0.0, 0)


def _without_borders(valid: Valid) -> Valid:
    """Leave out the borders of large holes, which are the same edges in both images."""
    if valid.all():
        return valid
    holes = binary_opening(~valid, np.ones((_BLURRED, _BLURRED), bool))
    return valid & ~binary_dilation(holes, np.ones((3, 3), bool), iterations=_BLURRED) if holes.any() else valid


def _edges(image: Image, valid: Valid) -> Surface:
    grey = image.mean(axis=2)
    grey[~valid] = grey[valid].mean()
    strength: Surface = gaussian_gradient_magnitude(grey, 1.0)
    # The border of the data is an edge at the same pixel in both images, whatever the shift.
    strength[~valid] = 0
    strength = np.minimum(strength, np.percentile(strength, 98))
    window = np.hanning(SIDE)
    tapered: Surface = (strength - strength.mean()) * np.outer(window, window)
    return tapered


def _correlate(pre: Surface, post: Surface) -> Surface:
    """Return the phase correlation at each shift, shift 0 in the middle.

    Not `skimage.registration.phase_cross_correlation`, which returns a shift and no surface to add up.
    """
    cross = fft.fft2(post) * np.conj(fft.fft2(pre))
    narrow = np.exp(-2 * (np.pi * _WIDTH * fft.fftfreq(SIDE)) ** 2)
    strength = np.abs(cross)
    cross = np.divide(cross, strength, out=np.zeros_like(cross), where=strength > 1e-9 * max(strength.max(), 1e-9))
    surface: Surface = fft.fftshift(fft.ifft2(cross * np.outer(narrow, narrow)).real)
    return surface


def _peak(surface: Surface) -> tuple[float, float, float]:
    """Return columns, rows and confidence of the highest point within reach."""
    middle = SIDE // 2
    near = surface[middle - _FARTHEST : middle + _FARTHEST + 1, middle - _FARTHEST : middle + _FARTHEST + 1]
    row, column = np.unravel_index(near.argmax(), near.shape)
    y, x = int(row) + middle - _FARTHEST, int(column) + middle - _FARTHEST
    deviation = surface.std()
    confidence = float((surface[y, x] - surface.mean()) / deviation) if deviation > 1e-12 else 0.0
    columns = x - middle + _vertex(surface[y, x - 1 : x + 2])
    rows = y - middle + _vertex(surface[y - 1 : y + 2, x])
    return columns, rows, round(confidence, 1)


def _vertex(three: Numbers) -> float:
    """Return the offset of the top of a Gaussian through three neighbours from the middle."""
    low, middle, high = np.log(np.maximum(three, 1e-12))
    bend = low - 2 * middle + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def estimate_field(positions: Points, shifts: Points, size: tuple[int, int]) -> ShiftField | None:
    """Fit a field to the shifts of windows; `None` if one shift for all is as good.

    A window that contradicts its neighbours is left out. A field that does not predict windows that were held out is
    rejected.

    Args:
        positions: middle of each window, rows and columns in pixels.
        shifts: rows and columns in pixels.
        size: rows and columns of the grid.
    """
    if len(positions) < _FEWEST:
        return None
    near: Any = scipy.spatial.KDTree(positions).query(positions, _NEIGHBOURS + 1)[1]
    kept = np.hypot(*(shifts - np.median(shifts[near[:, 1:]], axis=1)).T) <= _OUTLIER
    if kept.sum() < max(_FEWEST, _AGREEING * len(kept)):
        return None
    scale = max(size)
    positions, shifts = positions[kept] / scale, shifts[kept]
    apart = np.hypot(*(shifts - np.median(shifts, axis=0)).T)
    if np.percentile(apart, 75) < _SPREAD:
        return None
    if np.median(_held_out_errors(positions, shifts)) > _GAIN * np.median(apart):
        return None
    nodes = [np.linspace(0, length, min(_MOST_NODES, 2 + length // _NODE)) for length in size]
    lattice = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=2).reshape(-1, 2)
    values = _interpolator(positions, shifts)(lattice / scale).round(3)
    rows, columns = values.reshape(len(nodes[0]), len(nodes[1]), 2).transpose(2, 0, 1)
    return ShiftField((float(nodes[0][1]), float(nodes[1][1])), rows, columns)


def _interpolator(positions: Points, shifts: Points) -> scipy.interpolate.RBFInterpolator:
    # This kernel does not overshoot beyond the outermost windows and accepts windows that lie in one line.
    return scipy.interpolate.RBFInterpolator(positions, shifts, smoothing=_SMOOTHING, kernel="linear", degree=0)


def _held_out_errors(positions: Points, shifts: Points) -> Numbers:
    """Return the error at each window of a field that was fitted to the other folds."""
    errors = np.empty(len(positions))
    for fold in range(_FOLDS):
        out = np.arange(len(positions)) % _FOLDS == fold
        errors[out] = np.hypot(*(_interpolator(positions[~out], shifts[~out])(positions[out]) - shifts[out]).T)
    return errors


def estimate_footprint_shift(footprints: gpd.GeoDataFrame, probability: Path, grid: Grid) -> Shift:
    """Return the shift from the footprints to the predicted buildings, in pixels of the grid."""
    with rasterio.open(probability, driver="GTiff") as raster:
        return estimate_shift(_footprint_patches(footprints.geometry.to_numpy(), raster, grid))


def _footprint_patches(shapes: Any, raster: Any, grid: Grid) -> Iterator[Patch]:  # noqa: ANN401
    """Yield footprints and predicted buildings as two images."""
    tree = shapely.STRtree(shapes)
    for top, left in _footprint_windows(shapes, grid):
        rows, columns = min(SIDE, grid.height - top), min(SIDE, grid.width - left)
        background = np.full((SIDE, SIDE), NO_DATA, np.uint8)
        background[:rows, :columns] = raster.read(1, window=Window(left, top, columns, rows))
        transform = grid.transform @ Affine.translation(left, top)
        west, north = transform @ (0, 0)
        near = shapes[tree.query(shapely.box(west, north - SIDE * grid.pixel, west + SIDE * grid.pixel, north))]
        drawn = rasterize(near, out_shape=(SIDE, SIDE), transform=transform, default_value=NO_DATA - 1, dtype="uint8")
        valid = background != NO_DATA
        images = [np.repeat(each[..., None], 3, axis=2) for each in (drawn, NO_DATA - 1 - background * valid)]
        yield Patch(images[0], images[1], valid)


def _footprint_windows(shapes: Any, grid: Grid) -> list[tuple[int, int]]:  # noqa: ANN401
    """Return first row and column of windows that hold footprints, spread over all."""
    centroids = shapely.get_coordinates(shapely.centroid(shapes))
    cells = np.floor((centroids - [grid.left, grid.top]) / (grid.pixel * SIDE) * [1, -1]).astype(int)[:, ::-1]
    inside = ((cells >= 0) & (cells * SIDE < [grid.height, grid.width])).all(axis=1)
    windows = np.unique(cells[inside], axis=0) * SIDE
    return [(int(top), int(left)) for top, left in windows[:: max(1, len(windows) // _FOOTPRINT_WINDOWS)]]


def move_footprints(footprints: gpd.GeoDataFrame, shift: Shift, pixel: float) -> gpd.GeoDataFrame:
    """Return the footprints moved by a shift in pixels of `pixel` metres."""
    step = np.array([shift.columns, -shift.rows]) * pixel
    return footprints.set_geometry(
        shapely.transform(footprints.geometry.to_numpy(), lambda xy: xy + step), crs=footprints.crs
    )
