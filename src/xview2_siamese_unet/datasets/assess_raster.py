"""A large raster as a cloud-optimised GeoTIFF that never lies in memory as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from xview2_siamese_unet.raster.grid_cog import RasterContent, write_cog


class CogDataset(AbstractDataset[RasterContent, Path]):
    """Saving writes blocks as they come, beside and renamed; loading gives the path, for whoever reads in windows.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: RasterContent) -> None:
        """Write the raster."""
        write_cog(self._path, data)

    def load(self) -> Path:
        """Return the path."""
        return self._path

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
