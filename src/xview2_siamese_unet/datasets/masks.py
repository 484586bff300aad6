"""Masks of all scenes, burnt where they are written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kedro_datasets._typing import ImagePreview

from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.job_folder import JobFolder
from xview2_siamese_unet.datasets.log import say
from xview2_siamese_unet.datasets.preview import picture_of_masks
from xview2_siamese_unet.datasets.stamp import check_stamp
from xview2_siamese_unet.raster.masks import MaskPlan, burn_scene


class MasksDataset(JobFolder[MaskPlan, Path]):
    """A folder of masks; saving takes the jobs and runs them, loading returns the folder."""

    def save(self, data: MaskPlan) -> None:
        """Burn what is not there yet.

        Raises:
            StaleError: the folder holds masks of another rule.
        """
        check_stamp(self._folder, {"data_processing.masks.rule": data.rule})
        burnt = sum(run_jobs(partial(burn_scene, self._folder), data, self._executor, "scenes burnt"))
        say(__name__, "masks", made=burnt, reused=len(data) - burnt)

    def load(self) -> Path:
        """Return the folder."""
        return self._folder

    def preview(self) -> ImagePreview:
        """Return masks of some scenes, as Kedro-Viz shows them."""
        return ImagePreview(picture_of_masks(self._folder))
