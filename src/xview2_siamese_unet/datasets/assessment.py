"""Datasets of one assessment: folder, blocks of an unfinished run, vector layers, record, and adapted head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

import geopandas as gpd
import pyogrio
from kedro.io import DatasetError
from kedro_datasets._typing import TablePreview

from xview2_siamese_unet.adaptation.head import Head, write_head
from xview2_siamese_unet.atomic import PART, sha256, whole_file, write_atomically, written
from xview2_siamese_unet.datasets.files import OneFile
from xview2_siamese_unet.inference.building_formats import FORMATS, check_formats
from xview2_siamese_unet.inference.geopackage import write_geopackage
from xview2_siamese_unet.inference.products import begin, products, work_folder
from xview2_siamese_unet.inference.vector_formats import plain_path
from xview2_siamese_unet.raster.windows import BlockStore
from xview2_siamese_unet.types import AnyArray

Rows = Mapping[str, Mapping[int, Iterable[dict[str, AnyArray | None]]]]
"""Id of a run → number of a row → the arrays of each of its columns, kind → array."""


class AssessmentDataset(OneFile[Never, Path]):
    """The folder that an assessment writes to, which need not exist yet; read only."""

    def load(self) -> Path:
        """Return the folder."""
        return self._path

    def save(self, data: Never) -> None:
        """Refuse: the products have separate entries."""
        raise DatasetError(f"{self._path} is read only.")

    def _exists(self) -> bool:
        return True


class BlocksDataset(OneFile[Rows, Path]):
    """The blocks of the current run, each row written atomically; loading returns their folder.

    Saving the first row begins the assessment: it removes the record of an earlier one and the blocks of other runs.
    """

    def save(self, data: Rows) -> None:
        """Add rows to those that exist."""
        begin(self._path.parents[1])
        self._path.mkdir(exist_ok=True)
        for other in self._path.iterdir():
            if other.name not in data:
                shutil.rmtree(other, ignore_errors=True)
        for run, rows in data.items():
            for number, columns in rows.items():
                BlockStore(self._path / run).write_row(number, columns)

    def load(self) -> Path:
        """Return the folder, with one folder per run."""
        return self._path

    def _exists(self) -> bool:
        return False  # it may be incomplete; the node resumes from it


class RecordDataset(OneFile[dict[str, Any], dict[str, Any]]):
    """`run.json`, which marks an assessment as finished."""

    def save(self, data: dict[str, Any]) -> None:
        """Write the record, then remove files that only an interrupted run would need."""
        write_atomically(self._path, json.dumps(data, indent=2, allow_nan=False))
        folder = self._path.parent
        shutil.rmtree(work_folder(folder), ignore_errors=True)
        for product in products():  # nothing else: the folder is the user's, and other runs may write below it
            for part in folder.glob(f".{product}.*{PART}"):
                shutil.rmtree(part, ignore_errors=True)

    def load(self) -> dict[str, Any]:
        """Return the record."""
        record: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return record


@dataclass(frozen=True, slots=True)
class Layers:
    """The content of a GeoPackage.

    Attributes:
        frames: layer → rows, the main layer first.
        styles: layer → style of QGIS (QML).
        stamp: time of the file, ISO 8601; set explicitly, so that equal content gives equal bytes.
    """

    frames: dict[str, gpd.GeoDataFrame]
    styles: dict[str, str]
    stamp: str


class LayersDataset(OneFile[Layers, Path]):
    """A GeoPackage with the style of each layer, written atomically; loading returns its path."""

    def save(self, data: Layers) -> None:
        """Write all layers and styles."""
        write_geopackage(self._path, data.frames.items(), data.styles, data.stamp)

    def load(self) -> Path:
        """Return the path."""
        return self._path

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows without polygons, as Kedro-Viz shows them."""
        table = pyogrio.read_dataframe(f"GPKG:{self._path}", layer=0, read_geometry=False, max_features=nrows)
        return TablePreview(json.loads(table.to_json(orient="split", index=False)))


class FormatsDataset(OneFile[dict[str, gpd.GeoDataFrame], list[Path]]):
    """The same rows in some of `FORMATS`, each written atomically; loading returns the files that exist."""

    def save(self, data: dict[str, gpd.GeoDataFrame]) -> None:
        """Write each format, and remove files of other formats that an earlier assessment wrote.

        Raises:
            ConfigError: a format is unknown; nothing has been written.
        """
        check_formats(data)
        for name, (suffix, write) in FORMATS.items():
            path = self._path.with_suffix(suffix)
            if name in data:
                with whole_file(path) as part, plain_path(part) as plain:
                    write(data[name], plain)
            elif path.is_file() and sha256(path) in written(path.parent):
                path.unlink()

    def load(self) -> list[Path]:
        """Return the files that exist."""
        paths = (self._path.with_suffix(suffix) for suffix, _ in FORMATS.values())
        return [path for path in paths if path.is_file()]

    def _exists(self) -> bool:
        return bool(self.load())


class HeadDataset(OneFile[Head, Path]):
    """A head as safetensors, written atomically; loading returns its path.

    Saving begins the adapted assessment: it removes the record of an earlier one.
    """

    def save(self, data: Head) -> None:
        """Write the head."""
        begin(self._path.parent)
        write_head(data, self._path)

    def load(self) -> Path:
        """Return the path."""
        return self._path
