"""One mask file, such as a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kedro.io import AbstractDataset

from xview2_siamese_unet.raster.io import read_mask, write_mask
from xview2_siamese_unet.xbd.georeference import Georeference

ByteArray = npt.NDArray[np.uint8]


class MaskDataset(AbstractDataset[tuple[ByteArray, Georeference | None], ByteArray]):
    """A GeoTIFF of damage codes (h, w) with the class colours and, where it is known, its place on Earth.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: tuple[ByteArray, Georeference | None]) -> None:
        """Write codes and place."""
        write_mask(self._path, *data)

    def load(self) -> ByteArray:
        """Return the codes."""
        return read_mask(self._path)

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
