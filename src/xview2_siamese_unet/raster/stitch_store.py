"""Finished blocks on disk while an assessment runs: one file for each row of windows, there as a whole or not at all.

A run that is killed goes on after the last whole row.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.errors import StorageError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class BlockStore:
    """Arrays by row, column and kind, in `folder`."""

    folder: Path

    def has_row(self, i: int) -> bool:
        """Say whether row i is finished."""
        return self._path(i).exists()

    def write_row(self, i: int, columns: Iterable[dict[str, Array | None]]) -> None:
        """Write what each column of row i holds, kind → array, as it comes; `None` is not written."""
        with (
            whole_file(self._path(i)) as part,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        ):
            for j, kinds in enumerate(columns):
                for kind, array in kinds.items():
                    if array is not None:
                        buffer = io.BytesIO()
                        np.save(buffer, array, allow_pickle=False)
                        file.writestr(f"{kind}_{j}.npy", buffer.getbuffer())

    def read_row(self, i: int) -> RowReader:
        """Open row i for reading; −1, before the first, holds nothing.

        Raises:
            StorageError: the row is not there.
        """
        if i < 0:
            return RowReader(None)
        try:
            return RowReader(zipfile.ZipFile(self._path(i)))
        except FileNotFoundError as error:
            raise StorageError(
                str(self._path(i)),
                found="no file, though this run needs what it had written there",
                allowed="a folder of unfinished work that nothing else clears",
                remedy="repeat the same command, which writes anew what is missing",
            ) from error

    def _path(self, i: int) -> Path:
        return self.folder / f"row_{i:06d}.zip"


@dataclass(frozen=True, slots=True)
class RowReader:
    """One row, open; `None` reads as a row of nothing."""

    file: zipfile.ZipFile | None

    def __enter__(self) -> RowReader:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def read(self, kind: str, j: int) -> Array | None:
        """Return an array of column j, or `None` where there is none."""
        name = f"{kind}_{j}.npy"
        if self.file is None or name not in self.file.NameToInfo:
            return None
        array: Array = np.load(io.BytesIO(self.file.read(name)), allow_pickle=False)
        return array

    def columns(self, kind: str, count: int) -> Iterator[Array | None]:
        """Yield the arrays of all columns in turn."""
        return (self.read(kind, j) for j in range(count))
