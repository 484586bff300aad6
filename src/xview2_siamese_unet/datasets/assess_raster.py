"""A large raster as a cloud-optimised GeoTIFF that never lies in memory as a whole."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

import numpy as np
from kedro_datasets._typing import ImagePreview
from PIL import Image

from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.plots.paint import chequer, weave
from xview2_siamese_unet.raster.cog import RasterContent, read_small, write_cog
from xview2_siamese_unet.raster.io import NO_DATA

_SIDE: Final = 768


class CogDataset(OneFile[RasterContent, Path]):
    """Saving writes blocks as they come, beside and renamed; loading gives the path, for whoever reads in windows."""

    def save(self, data: RasterContent) -> None:
        """Write the raster."""
        write_cog(self._path, data)

    def load(self) -> Path:
        """Return the path."""
        return self._path

    def preview(self) -> ImagePreview:
        """Return the raster as a picture, as Kedro-Viz shows it."""
        return ImagePreview(base64.b64encode(picture(self._path)).decode())


def picture(path: Path, side: int = _SIDE) -> bytes:
    """Return damage codes, or how likely there is a building, as a PNG of at most `side` pixels; chequer is no data."""
    bands = read_small(path, side)
    nothing = bands[0] == NO_DATA
    dark = np.full((*nothing.shape, 3), 40, np.uint8)
    if len(bands) == 1:
        shown = weave(np.where(nothing, 0, bands[0]), dark)
    else:
        shown = np.repeat(NO_DATA - 1 - np.minimum(bands[0], NO_DATA - 1)[..., None], 3, axis=2)
    shown[nothing] = chequer(nothing.shape)[nothing]
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "PNG")
    return buffer.getvalue()
