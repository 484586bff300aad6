"""Shifts of many windows → a smooth field, where they say more together than one shift for all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from xview2_siamese_unet.raster.reader import ShiftField

FloatArray = npt.NDArray[np.float64]
_FEWEST: Final = 6  # windows
_NEIGHBOURS: Final = 4
_NEAR: Final = 2.5  # pixels from the median of its neighbours, beyond which a window is alone with what it says
_AGREEING: Final = 0.6  # share of the windows
_SPREAD: Final = 0.75  # pixels; below it one shift serves all
_GAIN: Final = 0.6  # of the error of one shift for all, at windows that the field has not seen
_FOLDS: Final = 4
_SMOOTHING: Final = 0.05
_NODE: Final = 128  # pixels between nodes, where the grid is small
_MOST_NODES: Final = 33


def estimate_field(places: FloatArray, shifts: FloatArray, size: tuple[int, int]) -> ShiftField | None:
    """Return the field through shifts that were measured in windows; `None` where one shift for all is as good.

    A window that contradicts its neighbours is left out, and a field that does not foretell windows that were kept from
    it is not believed.

    Args:
        places: middle of each window, rows and columns in pixels (n, 2).
        shifts: rows and columns in pixels (n, 2).
        size: rows and columns of the grid.
    """
    if len(places) < _FEWEST:
        return None
    near: Any = KDTree(places).query(places, _NEIGHBOURS + 1)[1]
    kept = np.hypot(*(shifts - np.median(shifts[near[:, 1:]], axis=1)).T) <= _NEAR
    if kept.sum() < max(_FEWEST, _AGREEING * len(kept)):
        return None
    scale = max(size)
    places, shifts = places[kept] / scale, shifts[kept]
    apart = np.hypot(*(shifts - np.median(shifts, axis=0)).T)
    if np.percentile(apart, 75) < _SPREAD or np.median(_unseen(places, shifts)) > _GAIN * np.median(apart):
        return None
    nodes = [np.linspace(0, length, min(_MOST_NODES, 2 + length // _NODE)) for length in size]
    lattice = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=2).reshape(-1, 2)
    values = _through(places, shifts)(lattice / scale).round(3)
    rows, columns = values.reshape(len(nodes[0]), len(nodes[1]), 2).transpose(2, 0, 1)
    return ShiftField((float(nodes[0][1]), float(nodes[1][1])), rows, columns)


def _through(places: FloatArray, shifts: FloatArray) -> Any:  # noqa: ANN401
    # This kernel neither rises beyond the outermost windows nor minds windows that lie in one line.
    return RBFInterpolator(places, shifts, smoothing=_SMOOTHING, kernel="linear", degree=0)


def _unseen(places: FloatArray, shifts: FloatArray) -> FloatArray:
    """Return how far each window lies from a field through the windows of the other folds."""
    errors = np.empty(len(places))
    for fold in range(_FOLDS):
        out = np.arange(len(places)) % _FOLDS == fold
        errors[out] = np.hypot(*(_through(places[~out], shifts[~out])(places[out]) - shifts[out]).T)
    return errors
