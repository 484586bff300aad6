"""The scenes once more, as PNGs in the layout of the challenge, converted where they are written."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.log import say
from xview2_siamese_unet.params.execution import ExecutorParams
from xview2_siamese_unet.raster.png import PngPlan, write_png_scene


class PngScenesDataset(AbstractDataset[PngPlan, Path]):
    """A folder in the layout of the challenge; saving converts what is not there yet, loading returns the folder.

    Args:
        filepath: the folder.
        executor: parameters of `ExecutorParams`.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, executor: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self._executor = ExecutorParams(**executor)
        self.metadata = metadata

    def save(self, data: PngPlan) -> None:
        """Convert.

        Raises:
            DataError: an image that cannot be read, or holds values above 255.
        """
        if data.pairs:
            convert = partial(write_png_scene, data.root, self._folder)
            made = sum(run_jobs(convert, data.pairs, self._executor, "scenes written as PNG"))
            say(__name__, "PNG", made=made, reused=len(data.pairs) - made)

    def load(self) -> Path:
        """Return the folder."""
        return self._folder

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, "executor": self._executor}
