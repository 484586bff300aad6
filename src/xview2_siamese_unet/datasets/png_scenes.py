"""The scenes once more, as PNGs in the layout of the challenge, converted where they are written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.job_folder import JobFolder
from xview2_siamese_unet.datasets.log import say
from xview2_siamese_unet.raster.png import PngPlan, write_png_scene


class PngScenesDataset(JobFolder[PngPlan, Path]):
    """A folder in the layout of the challenge; saving converts what is not there yet, loading returns the folder."""

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
