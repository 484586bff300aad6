"""The store of all scenes and the table of all buildings: neither is ever in memory as a whole."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from kedro_datasets._typing import ImagePreview, TablePreview

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.datasets.files import OneFile
from xview2_siamese_unet.datasets.partitions import Partitions, PartitionsDataset, refuse_other_settings
from xview2_siamese_unet.datasets.preview import picture_of_store
from xview2_siamese_unet.raster.store import CHANNELS, RECORD, Slot, Store, full_disk, read_manifest, scene_bytes
from xview2_siamese_unet.xbd.ingest import BUILDING_SCHEMA, problem_row

_log = logging.getLogger(__name__)


class StoreDataset(PartitionsDataset[Store]):
    """One memory-mapped array, a row per scene; `made_with` of the partitions is the height and width of a scene."""

    def save(self, data: Partitions) -> None:
        """Pack the scenes that are missing or out of date.

        Raises:
            StaleError: the store holds scenes of another size.
            StorageError: the disk is too small.
            DataError: a scene cannot be packed, and `skip` is false.
        """
        self._rows = self._allocate(list(data), data.made_with["height"], data.made_with["width"])
        left_out = self._make(data)
        problems = sorted(problem_row(scene, error, stop=False) for scene, error in left_out.items())
        for scene, problem, *_ in problems:
            _log.warning("%s left out: %s", scene, problem)
        if data.shard.count == 1:  # a shard has only its own problems
            write_atomically(self._folder / "problems.json", json.dumps(problems))

    def _partition(self, name: str) -> Slot:
        return Slot(self._folder, self._rows[name])

    def _allocate(self, scenes: list[str], height: int, width: int) -> dict[str, int]:
        """Make room and return the row of each scene: known scenes keep theirs, new ones are appended."""
        size = {"height": height, "width": width}
        manifest = read_manifest(self._folder) or {"scenes": [], **size}
        refuse_other_settings(self._folder, {key: manifest[key] for key in size}, size)
        order = list(dict.fromkeys([*manifest["scenes"], *scenes]))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._require_space(scenes, manifest["scenes"], scene_bytes(height, width))
        _grow(self._folder / "pixels.u8", len(order) * height * width * CHANNELS)
        _grow(self._folder / "records.bin", len(order) * RECORD.itemsize)
        # The manifest comes last, so that files are long enough for it at any time.
        write_atomically(self._folder / "manifest.json", json.dumps({**manifest, "scenes": order}))
        return {name: row for row, name in enumerate(order)}

    def _require_space(self, scenes: list[str], known: list[str], each: int) -> None:
        """Log how much will be written, and stop if that does not fit."""
        records = self._folder / "records.bin"
        keys = np.fromfile(records, RECORD)["key"] if records.exists() else np.zeros(0, "S32")
        packed = {name for name, key in zip(known, keys, strict=False) if key}
        missing = len(set(scenes) - packed)
        needed, free = missing * each, shutil.disk_usage(self._folder).free
        _log.info("store: %d scenes to pack, %.1f GB; %.1f GB are free", missing, needed / 1e9, free / 1e9)
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
    """Lengthen a file without writing to the added part, which takes no space."""
    with path.open("ab") as file:
        file.truncate(max(size, path.stat().st_size))


class BuildingsDataset(OneFile[Callable[[], Iterable[pa.Table]], pq.ParquetFile]):
    """A Parquet file of `BUILDING_COLUMNS`. Saving takes a function that yields its parts."""

    def save(self, data: Callable[[], Iterable[pa.Table]]) -> None:
        """Write the table atomically, part by part."""
        with whole_file(self._path) as part, pq.ParquetWriter(part, BUILDING_SCHEMA, compression="zstd") as writer:
            for table in data():
                writer.write_table(table)

    def load(self) -> pq.ParquetFile:
        """Open the file: `iter_batches()` for some rows at a time, `read().to_pandas()` for all."""
        return pq.ParquetFile(self._path)

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows, without reading the rest."""
        with self.load() as file:
            rows = pa.Table.from_batches(islice(file.iter_batches(nrows), 1), file.schema_arrow)
        return TablePreview(rows.to_pandas().to_dict(orient="split"))
