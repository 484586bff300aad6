"""The folder of one assessment: its blocks while it runs, and the record that makes it finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Never

from kedro.io import DatasetError

from xview2_siamese_unet.atomic import PART, write_atomically
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.inference.products import PRODUCTS, begin, work_folder
from xview2_siamese_unet.raster.windows import Array, BlockStore

Rows = Mapping[str, Mapping[int, Iterable[dict[str, Array | None]]]]
"""Id of a run → number of a row → what each of its columns holds, kind → array."""


class AssessmentDataset(OneFile[Never, Path]):
    """The folder that an assessment writes to, which need not exist yet; it is only read."""

    def load(self) -> Path:
        """Return the folder."""
        return self._path

    def save(self, data: Never) -> None:
        """Refuse: the products have entries of their own."""
        raise DatasetError(f"{self._path} is read only.")

    def _exists(self) -> bool:
        return True


class BlocksDataset(OneFile[Rows, Path]):
    """The blocks of the run under way, row by row, each there as a whole or not at all; loading gives their folder.

    Saving the first row begins the assessment: the record of an earlier one goes, and so do blocks of other runs.
    """

    def save(self, data: Rows) -> None:
        """Add rows to those that are there."""
        begin(self._path.parents[1])
        self._path.mkdir(exist_ok=True)
        for other in self._path.iterdir():
            if other.name not in data:
                shutil.rmtree(other, ignore_errors=True)
        for run, rows in data.items():
            for number, columns in rows.items():
                BlockStore(self._path / run).write_row(number, columns)

    def load(self) -> Path:
        """Return the folder, with one folder below for the run."""
        return self._path

    def _exists(self) -> bool:
        return False  # whatever is there may be a part; the node takes it up


class RecordDataset(OneFile[dict[str, Any], dict[str, Any]]):
    """`run.json`, which makes an assessment finished, so that its unfinished work is no longer needed."""

    def save(self, data: dict[str, Any]) -> None:
        """Write the record, then remove what only a run that is stopped would need."""
        write_atomically(self._path, json.dumps(data, indent=2, allow_nan=False))
        folder = self._path.parent
        shutil.rmtree(work_folder(folder), ignore_errors=True)
        for product in PRODUCTS:  # and no more: the folder is the user's, and other runs may write below it
            for part in folder.glob(f".{product}.*{PART}"):
                shutil.rmtree(part, ignore_errors=True)

    def load(self) -> dict[str, Any]:
        """Return the record."""
        record: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return record
