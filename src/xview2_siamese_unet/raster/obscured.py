"""Detection of the parts of an image that do not show the ground: clouds, dense haze, smoke and night.

A cloud is grey, bright in all bands over more than the size of a roof, and hides the texture of what is below it. The
brightness is the dark channel of He, Sun and Tang 2009, opened: soft edges of clouds stay, white roofs vanish. All
thresholds are for bytes as a net gets them; `benchmarks/bench_obscured.py` measures their accuracy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from xview2_siamese_unet.types import BoolArray, Float64Array, Image, Surface, Valid

CELL: Final = 2.0
"""Metres; side of the cells that are classified, unless two pixels are longer."""
RIM: Final = 8
"""Cells around a window that are needed to classify its cells."""
_ROOF: Final = 9  # cells; a narrower bright patch is not a cloud
_NEAR: Final = 9  # cells over which texture and colour are averaged
_EDGE: Final = 5  # cells; the least texture around a cell counts, because averages reach over the edge of a cloud
_VEIL: Final = 90  # grey levels of the darkest band
_TEXTURE: Final = 5.5  # grey levels; standard deviation within cells
_COLOUR: Final = 20  # grey levels between the darkest and the brightest band
_NIGHT: Final = 12  # grey levels of brightness


class Cells(NamedTuple):
    """Squares of pixels: mean colour, variance of the green band, and where most pixels have data."""

    colours: Float64Array
    variance: Surface
    valid: Valid


def obscured_cells(image: Image, valid: Valid, step: int) -> BoolArray:
    """Return the cells of `step` × `step` pixels in which an image does not show the ground.

    Args:
        image: sides are multiples of `step`.
        valid: where it has data; cells without most of it are not obscured.
        step: pixels.
    """
    cells = _cells(np.where(valid[..., None], image, 0), valid, step)
    darkest, brightest = cells.colours.min(axis=2), cells.colours.max(axis=2)
    eroded = ndimage.minimum_filter(np.where(cells.valid, darkest, 255), _ROOF)
    veil = ndimage.maximum_filter(np.where(cells.valid, eroded, 0), _ROOF)
    texture, colour, brightness = (
        _near(each, cells.valid) for each in (cells.variance, brightest - darkest, cells.colours.mean(axis=2))
    )
    smooth = ndimage.minimum_filter(texture, _EDGE) <= _TEXTURE**2
    clouded = (veil >= _VEIL) & smooth & (colour <= _COLOUR)
    hidden: BoolArray = cells.valid & (clouded | (brightness < _NIGHT))
    return hidden


def _cells(image: Image, valid: Valid, step: int) -> Cells:
    shape = valid.shape[0] // step, valid.shape[1] // step
    count, total, squares = np.zeros(shape, np.int32), np.zeros((*shape, 3), np.int32), np.zeros(shape, np.int32)
    for offset in np.ndindex(step, step):  # several times as fast as sums over axes
        one = tuple(slice(first, None, step) for first in offset)
        count += valid[one]
        total += image[one]
        squares += np.square(image[..., 1][one], dtype=np.int32)
    known = np.maximum(count, 1)
    colours = total / known[..., None]
    return Cells(colours, squares / known - colours[..., 1] ** 2, count > step**2 / 2)


def _near(values: Surface, valid: Valid) -> Surface:
    """Return means over the valid cells around each cell."""
    total, weight = (ndimage.uniform_filter(each, _NEAR, mode="constant") for each in (values * valid, valid * 1.0))
    mean: Surface = total / np.maximum(weight, 1e-6)
    return mean
