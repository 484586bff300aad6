"""The store of all scenes, packed where it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.log import say
from xview2_siamese_unet.datasets.preview import picture_of_store
from xview2_siamese_unet.datasets.stamp import refuse_other_settings, write_atomically
from xview2_siamese_unet.params.execution import ExecutorParams
from xview2_siamese_unet.raster.pack import PackJob, Slot, pack_scene
from xview2_siamese_unet.raster.record import RECORD
from xview2_siamese_unet.raster.store import CHANNELS, Store, read_manifest


class StoreDataset(AbstractDataset[tuple[tuple[int, int], Sequence[PackJob]], Store]):
    """One memory-mapped array of all scenes; saving packs what is not in it yet, loading opens it.

    Args:
        filepath: the folder of the store.
        executor: parameters of `ExecutorParams`.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, executor: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self._executor = ExecutorParams(**executor)
        self.metadata = metadata

    def save(self, data: tuple[tuple[int, int], Sequence[PackJob]]) -> None:
        """Pack.

        Args:
            data: height and width of every scene, and one job for each.

        Raises:
            StaleError: the store holds scenes of another size.
        """
        (height, width), jobs = data
        rows = self._allocate([job.scene for job in jobs], height, width)
        work = [(Slot(self._folder, rows[job.scene], height, width), job) for job in jobs]
        packed = sum(run_jobs(_pack, work, self._executor, "scenes packed"))
        say(__name__, "store", made=packed, reused=len(jobs) - packed)

    def _allocate(self, scenes: list[str], height: int, width: int) -> dict[str, int]:
        """Make room: scenes keep the row that they have, new ones come behind; return each scene's row."""
        manifest = read_manifest(self._folder) or {"scenes": [], "height": height, "width": width}
        made_with = {key: manifest[key] for key in ("height", "width")}
        refuse_other_settings(self._folder, made_with, {"height": height, "width": width})
        known = set(manifest["scenes"])
        order = [*manifest["scenes"], *(scene for scene in scenes if scene not in known)]
        self._folder.mkdir(parents=True, exist_ok=True)
        _grow(self._folder / "pixels.u8", len(order) * height * width * CHANNELS)
        _grow(self._folder / "records.bin", len(order) * RECORD.itemsize)
        # The manifest goes last: whoever reads it finds files that are long enough.
        write_atomically(self._folder / "manifest.json", json.dumps({**manifest, "scenes": order}))
        return {name: row for row, name in enumerate(order)}

    def load(self) -> Store:
        """Open the store."""
        return Store(self._folder)

    def preview(self) -> ImagePreview:
        """Return some scenes, as Kedro-Viz shows them."""
        return ImagePreview(picture_of_store(self.load()))

    def _exists(self) -> bool:
        return read_manifest(self._folder) is not None

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, "executor": self._executor}


def _pack(work: tuple[Slot, PackJob]) -> bool:
    return pack_scene(*work)


def _grow(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)
