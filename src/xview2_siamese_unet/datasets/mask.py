"""One mask file, such as a prediction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.raster.io import read_mask, write_mask
from xview2_siamese_unet.xbd.georeference import Georeference

ByteArray = npt.NDArray[np.uint8]


class MaskDataset(OneFile[tuple[ByteArray, Georeference | None], ByteArray]):
    """A GeoTIFF of damage codes (h, w) with the class colours and, where it is known, its place on Earth."""

    def save(self, data: tuple[ByteArray, Georeference | None]) -> None:
        """Write codes and place."""
        write_mask(self._path, *data)

    def load(self) -> ByteArray:
        """Return the codes."""
        return read_mask(self._path)
