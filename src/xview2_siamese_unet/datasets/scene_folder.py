"""The raw scenes: a download of xBD, read where it lies, or the built-in sample, drawn where it is missing."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.preview import picture_of_pairs
from xview2_siamese_unet.datasets.stamp import check_stamp
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.params.execution import ExecutorParams
from xview2_siamese_unet.xbd.archives import is_archive, unpack
from xview2_siamese_unet.xbd.pairing import list_pairs, unread_folders
from xview2_siamese_unet.xbd.sample import SampleScene, plan_sample, write_scene

logger = logging.getLogger(__name__)


class SceneFolderDataset(AbstractDataset[DatasetParams, Path]):
    """A folder in the layout of the xBD download.

    Saving checks an xBD folder and changes nothing in it, unpacks an archive once, and of the sample draws the scenes
    that are not there yet.
    Loading returns the folder.

    Args:
        source: `xbd` or `sample`.
        root: folder of the download, or a zip or tar file of it, for `xbd`.
        filepath: folder that the sample, or what is in an archive, is written to.
        path: folder that a relative root starts at.
        executor: parameters of `ExecutorParams`.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(
        self,
        *,
        source: str,
        root: str | None,
        filepath: str,
        path: str = ".",
        executor: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        # Absolute, because a worker on another node starts in another folder.
        self._start = Path(path).absolute()
        self.download = self._start / root if source == "xbd" and root is not None else None
        """The folder or archive of xBD; `None` for the sample."""
        self._archive = self.download if self.download is not None and is_archive(self.download) else None
        self._folder = Path(filepath).absolute() if self.download is None or self._archive else self.download
        self._executor = ExecutorParams(**executor)
        self.metadata = metadata

    def save(self, data: DatasetParams) -> None:
        """Make sure that the scenes are there.

        Raises:
            ConfigError: the parameters name other scenes than the catalog does.
            DataError: the xBD folder is missing or is none.
            StaleError: the folder holds a sample of other settings.
        """
        self._require_same(data)
        if data.source == "sample":
            check_stamp(self._folder, data.sample.model_dump(mode="json"))
            missing = [scene for scene in plan_sample(data.sample) if not self._is_drawn(scene)]
            draw = partial(write_scene, self._folder, size=data.sample.size)
            for _ in run_jobs(draw, missing, self._executor, "sample scenes drawn"):
                pass
        elif self._archive is not None:
            self._unpack(self._archive)
        list_pairs(self._folder)
        if unread := unread_folders(self._folder):
            logger.warning("%s: ignored folders that are not named after a tier: %s", self._folder, ", ".join(unread))

    def _require_same(self, data: DatasetParams) -> None:
        """A sample is never drawn into a download, nor read in place of one."""
        asked = self._start / data.root if data.source == "xbd" and data.root is not None else None
        if asked != self.download:
            raise ConfigError(
                "dataset.source and dataset.root",
                found=f"{asked or 'the sample'} in the parameters and {self.download or 'the sample'} in the catalog",
                allowed="the same scenes in both",
                remedy="write source and root below dataset in globals.yml alone, or pass them as --params",
            )

    def _unpack(self, archive: Path) -> None:
        check_stamp(self._folder, {"archive": archive.name, "bytes": archive.stat().st_size})
        done = self._folder / "unpacked.json"
        if not done.exists():
            write_atomically(done, json.dumps({"files": unpack(archive, self._folder)}))

    def _is_drawn(self, scene: SampleScene) -> bool:
        # write_scene writes the post-disaster label last.
        return (self._folder / scene.tier / "labels" / f"{scene.id.stem('post')}.json").exists()

    def load(self) -> Path:
        """Return the folder."""
        return self._folder

    def preview(self) -> ImagePreview:
        """Return some scenes, before and after, as Kedro-Viz shows them."""
        return ImagePreview(picture_of_pairs(self._folder))

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder}
