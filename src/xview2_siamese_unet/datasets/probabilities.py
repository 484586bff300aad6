"""Probabilities of one scene."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.raster.io import read_bands, write_probabilities
from xview2_siamese_unet.xbd.georeference import Georeference

ByteArray = npt.NDArray[np.uint8]


class ProbabilityDataset(OneFile[tuple[ByteArray, Georeference | None], ByteArray]):
    """A GeoTIFF of the probabilities (5, h, w) of background and the four damage classes, in steps of 1/254."""

    def save(self, data: tuple[ByteArray, Georeference | None]) -> None:
        """Write probabilities and place."""
        write_probabilities(self._path, *data)

    def load(self) -> ByteArray:
        """Return the probabilities."""
        return read_bands(self._path)
