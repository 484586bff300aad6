"""Masks of all scenes, burnt where they are written."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.log import say
from xview2_siamese_unet.datasets.preview import picture_of_masks
from xview2_siamese_unet.datasets.stamp import check_stamp
from xview2_siamese_unet.params.execution import ExecutorParams
from xview2_siamese_unet.raster.masks import MaskPlan, burn_scene


class MasksDataset(AbstractDataset[MaskPlan, Path]):
    """A folder of masks; saving takes the jobs and runs them, loading returns the folder.

    So no mask travels between processes, and memory does not grow with the number of scenes.

    Args:
        filepath: the folder.
        executor: parameters of `ExecutorParams`.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, executor: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self._executor = ExecutorParams(**executor)
        self.metadata = metadata

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

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, "executor": self._executor}
