"""GeoTIFF datasets: masks and probabilities of one scene, and the large rasters of an assessment."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TypeAlias

import numpy as np
from kedro_datasets._typing import ImagePreview
from PIL import Image

from xview2_siamese_unet.datasets.files import OneFile
from xview2_siamese_unet.raster.cog import RasterContent, read_small, write_cog
from xview2_siamese_unet.raster.io import NO_DATA, read_bands, read_mask, write_mask, write_probabilities
from xview2_siamese_unet.report.hatches import chequer, hatch
from xview2_siamese_unet.types import UInt8Array
from xview2_siamese_unet.xbd.georeference import Georeference

Placed: TypeAlias = tuple[UInt8Array, Georeference | None]
"""Pixels, and their georeference if it is known."""


class MaskDataset(OneFile[Placed, UInt8Array]):
    """Damage codes (h, w) with the class colours."""

    def save(self, data: Placed) -> None:
        """Write the codes."""
        write_mask(self._path, *data)

    def load(self) -> UInt8Array:
        """Return the codes."""
        return read_mask(self._path)


class ProbabilityDataset(OneFile[Placed, UInt8Array]):
    """Probabilities (5, h, w) of background and the four damage classes, in steps of 1/254."""

    def save(self, data: Placed) -> None:
        """Write the probabilities."""
        write_probabilities(self._path, *data)

    def load(self) -> UInt8Array:
        """Return the probabilities."""
        return read_bands(self._path)


class CogDataset(OneFile[RasterContent, Path]):
    """A cloud-optimised GeoTIFF that is never in memory as a whole; loading returns the path, to read in windows."""

    def save(self, data: RasterContent) -> None:
        """Write the blocks as they come."""
        write_cog(self._path, data)

    def load(self) -> Path:
        """Return the path."""
        return self._path

    def preview(self) -> ImagePreview:
        """Return the raster as a picture, as Kedro-Viz shows it."""
        return ImagePreview(base64.b64encode(picture(self._path)).decode())


def picture(path: Path, side: int = 768) -> bytes:
    """Return damage codes or the probability of a building as a PNG of at most `side` pixels; no data is chequered."""
    bands = read_small(path, side)
    nothing = bands[0] == NO_DATA
    if len(bands) == 1:
        shown = hatch(np.where(nothing, 0, bands[0]), np.full((*nothing.shape, 3), 40, np.uint8))
    else:
        shown = np.repeat(NO_DATA - 1 - np.minimum(bands[0], NO_DATA - 1)[..., None], 3, axis=2)
    shown[nothing] = chequer(nothing.shape)[nothing]
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "PNG")
    return buffer.getvalue()
