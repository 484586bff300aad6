"""Probabilities of one scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kedro.io import AbstractDataset

from xview2_siamese_unet.raster.io import read_bands
from xview2_siamese_unet.raster.probability import write_probabilities
from xview2_siamese_unet.xbd.georeference import Georeference

ByteArray = npt.NDArray[np.uint8]


class ProbabilityDataset(AbstractDataset[tuple[ByteArray, Georeference | None], ByteArray]):
    """A GeoTIFF of the probabilities (5, h, w) of background and the four damage classes, in steps of 1/254.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: tuple[ByteArray, Georeference | None]) -> None:
        """Write probabilities and place."""
        write_probabilities(self._path, *data)

    def load(self) -> ByteArray:
        """Return the probabilities."""
        return read_bands(self._path)

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
