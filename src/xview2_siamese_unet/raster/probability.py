"""Probabilities as bytes: an eighth of their doubles, exact enough for curves, and open in any GIS."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.raster.io import create
from xview2_siamese_unet.xbd.georeference import Georeference

ByteArray = npt.NDArray[np.uint8]
LEVELS: Final = 254
"""Probability 1 as a byte."""
NO_DATA: Final = 255
BANDS: Final = (Damage.BACKGROUND.word, *(code.word for code in SCORED))


def as_bytes(shares: npt.NDArray[np.floating]) -> ByteArray:
    """Return probabilities, 0 to 1, of any shape in steps of 1/254."""
    whole: ByteArray = np.rint(shares.clip(0, 1) * LEVELS).astype(np.uint8)
    return whole


def write_probabilities(path: Path, probabilities: ByteArray, place: Georeference | None = None) -> None:
    """Write probabilities (5, h, w) of background and the four damage classes as a GeoTIFF, whole or not at all."""
    # Neighbours differ little: their differences compress better than the bytes themselves.
    with create(path, probabilities.shape, place, compress="deflate", zlevel=1, predictor=2) as target:
        target.write(probabilities)
        target.descriptions = BANDS
        target.scales = [1 / LEVELS] * len(BANDS)


def confidence(shares: ByteArray, codes: ByteArray) -> ByteArray:
    """Return the probability of the answer at each pixel in steps of 1/254; 255 where the answer has none.

    Args:
        shares: probabilities of background and the four damage classes, uint8 (5, h, w).
        codes: the answer, uint8 (h, w), codes of `Damage`.
    """
    known = codes < len(shares)
    answered = np.take_along_axis(shares, (codes * known)[None].astype(np.intp), axis=0)[0]
    return np.where(known, answered, np.uint8(NO_DATA))
