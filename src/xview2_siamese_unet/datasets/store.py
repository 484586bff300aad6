"""The store of all scenes, packed where it is written."""

from __future__ import annotations

import json
import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from kedro_datasets._typing import ImagePreview

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.job_folder import JobFolder
from xview2_siamese_unet.datasets.log import say
from xview2_siamese_unet.datasets.preview import picture_of_store
from xview2_siamese_unet.datasets.stamp import refuse_other_settings
from xview2_siamese_unet.raster.pack import Slot, StorePlan, full_disk, pack_or_report, scene_bytes
from xview2_siamese_unet.raster.record import RECORD
from xview2_siamese_unet.raster.store import CHANNELS, Store, read_manifest
from xview2_siamese_unet.xbd.ingest import problem_row

logger = logging.getLogger(__name__)


class StoreDataset(JobFolder[StorePlan, Store]):
    """One memory-mapped array of all scenes; saving packs what is not in it yet, loading opens it."""

    def save(self, data: StorePlan) -> None:
        """Pack.

        Raises:
            StaleError: the store holds scenes of another size.
            StorageError: the disk is too small.
            DataError: a scene cannot be packed, and none may be skipped.
        """
        rows = self._allocate(data)
        work = [(Slot(self._folder, rows[job.scene], data.height, data.width), job) for job in data.jobs]
        pack = partial(pack_or_report, skip=data.skip)
        results = list(run_jobs(pack, work, self._executor, "scenes packed"))
        problems = sorted(problem_row(*result, stop=False) for result in results if not isinstance(result, bool))
        for scene, problem, *_ in problems:
            logger.warning("%s left out: %s", scene, problem)
        if len(data.jobs) == len(data.scenes):  # a part knows nothing of the others' problems
            write_atomically(self._folder / "problems.json", json.dumps(problems))
        packed = results.count(True)
        say(__name__, "store", made=packed, reused=results.count(False))

    def _allocate(self, data: StorePlan) -> dict[str, int]:
        """Make room: scenes keep the row that they have, new ones come behind; return each scene's row."""
        size = {"height": data.height, "width": data.width}
        manifest = read_manifest(self._folder) or {"scenes": [], **size}
        refuse_other_settings(self._folder, {key: manifest[key] for key in size}, size)
        known = set(manifest["scenes"])
        order = [*manifest["scenes"], *(scene for scene in data.scenes if scene not in known)]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._require_space(data, {name: row for row, name in enumerate(manifest["scenes"])})
        _grow(self._folder / "pixels.u8", len(order) * data.height * data.width * CHANNELS)
        _grow(self._folder / "records.bin", len(order) * RECORD.itemsize)
        # The manifest goes last: whoever reads it finds files that are long enough.
        write_atomically(self._folder / "manifest.json", json.dumps({**manifest, "scenes": order}))
        return {name: row for row, name in enumerate(order)}

    def _require_space(self, data: StorePlan, rows: dict[str, int]) -> None:
        """Say how much will be written, and stop where that does not fit."""
        records = self._folder / "records.bin"
        keys = np.fromfile(records, RECORD)["key"] if records.exists() else np.zeros(0, "S32")
        packed = {name for name, row in rows.items() if row < len(keys) and keys[row]}
        missing = sum(scene not in packed for scene in data.scenes)
        needed, free = missing * scene_bytes(data.height, data.width), shutil.disk_usage(self._folder).free
        logger.info("store: %d scenes to pack, %.1f GB; %.1f GB are free", missing, needed / 1e9, free / 1e9)
        if needed > free:
            raise full_disk(self._folder, needed, free)

    def load(self) -> Store:
        """Open the store."""
        return Store(self._folder)

    def preview(self) -> ImagePreview:
        """Return some scenes, as Kedro-Viz shows them."""
        return ImagePreview(picture_of_store(self.load()))

    def _exists(self) -> bool:
        return read_manifest(self._folder) is not None


def _grow(path: Path, size: int) -> None:
    """Lengthen a file, which takes no space yet."""
    with path.open("ab") as file:
        file.truncate(max(size, path.stat().st_size))
