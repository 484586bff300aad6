"""All scenes of a dataset in one memory-mapped array of bytes: what training and scoring read.

A crop of 512² from it costs a fifth of a millisecond, where two PNGs and two masks cost 60 to 140. Beside the pixels
stands one record a scene, written after its pixels: a scene without a record was torn by a killed run and is not read.

Files in the folder of a store:
    pixels.u8      (n, h, w, 8) uint8: pre RGB, post RGB, building 0/1, damage 0–5
    records.bin    (n,) `RECORD`
    manifest.json  scene names in order, height and width
    problems.json  the scenes that could not be packed and were left out, as rows of the ingest report
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.record import RECORD

CHANNELS: Final = 8
_AT_ONCE: Final = 1 << 17
"""Bytes asked for in one call: of a longer range, a system may read no more than it reads ahead on its own."""
ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """Views into the store, uint8: `pre` and `post` (h, w, 3), `building` (h, w) 0/1, `damage` (h, w) 0–5."""

    pixels: ByteArray

    @property
    def pre(self) -> ByteArray:
        """Image from before the disaster."""
        return self.pixels[..., 0:3]

    @property
    def post(self) -> ByteArray:
        """Image from after the disaster."""
        return self.pixels[..., 3:6]

    @property
    def building(self) -> ByteArray:
        """Truth of localisation, from the pre-disaster label."""
        return self.pixels[..., 6]

    @property
    def damage(self) -> ByteArray:
        """Truth of damage, from the post-disaster label."""
        return self.pixels[..., 7]


class Store:
    """A store opened for reading; cheap to pickle, so that each worker maps the files itself.

    Args:
        folder: where the three files lie.

    Raises:
        DataError: there is no store in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = read_manifest(folder)
        if manifest is None:
            raise DataError(
                str(folder),
                found="no store",
                allowed="a store that data_processing wrote",
                remedy="run kedro run --pipelines data_processing with the same environment first",
            )
        self.scenes: tuple[str, ...] = tuple(manifest["scenes"])
        self.height: int = manifest["height"]
        self.width: int = manifest["width"]
        self._row = {name: row for row, name in enumerate(self.scenes)}
        self._maps: tuple[ByteArray, npt.NDArray[Any]] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the folder only: a memory map would travel as a copy of all its pixels."""
        return Store, (self.folder,)

    def __len__(self) -> int:
        return len(self.scenes)

    def rows(self, names: Sequence[str]) -> list[int]:
        """Return the row of each scene.

        Raises:
            DataError: a scene that is not in the store, or whose packing was cut short.
        """
        keys = self.records["key"]
        for name in names:
            if name not in self._row or not keys[self._row[name]]:
                raise DataError(
                    str(self.folder),
                    found=f"no finished scene {name}",
                    allowed="the scenes that data_processing packed",
                    remedy="run kedro run --pipelines data_processing with the same environment again",
                )
        return [self._row[name] for name in names]

    @property
    def problems(self) -> list[list[str]]:
        """Rows of `xbd.ingest.PROBLEM_COLUMNS` of the scenes that were left out while packing."""
        path = self.folder / "problems.json"
        rows: list[list[str]] = json.loads(path.read_text()) if path.exists() else []
        return rows

    @property
    def pixels(self) -> ByteArray:
        """All scenes, uint8 (n, h, w, 8), mapped and not read."""
        return self._map()[0]

    @property
    def records(self) -> npt.NDArray[Any]:
        """One `RECORD` a scene, (n,)."""
        return self._map()[1]

    @property
    def digest(self) -> str:
        """A text that changes with any scene, its images and its labels."""
        return blake2b("\n".join(self.scenes).encode() + self.records["key"].tobytes(), digest_size=16).hexdigest()

    def scene(self, name: str) -> Scene:
        """Return one scene by name."""
        return Scene(self.pixels[self.rows([name])[0]])

    def prefetch(self, row: int, top: int = 0, bottom: int | None = None) -> None:
        """Have lines of a scene read from the disk in one go, and no others.

        Left alone, a system reads ahead of and around every line that is touched: of a crop from a disk, four times as
        much as is needed. Where nothing can be asked for, nothing happens.

        Args:
            row: of the scene.
            top: first line.
            bottom: line behind the last; `None` for the end of the scene.
        """
        pages = self.pixels.base
        if not isinstance(pages, mmap.mmap) or not hasattr(pages, "madvise"):
            return
        line = self.width * CHANNELS
        first = (row * self.height + top) * line
        last = (row * self.height + (self.height if bottom is None else bottom)) * line
        for start in range(first - first % mmap.PAGESIZE, last, _AT_ONCE):
            pages.madvise(mmap.MADV_WILLNEED, start, min(_AT_ONCE, last - start))

    def _map(self) -> tuple[ByteArray, npt.NDArray[Any]]:
        if self._maps is None:
            shape = (len(self), self.height, self.width, CHANNELS)
            try:
                self._maps = (
                    np.memmap(self.folder / "pixels.u8", np.uint8, "r", shape=shape),
                    np.memmap(self.folder / "records.bin", RECORD, "r", shape=(len(self),)),
                )
            except (OSError, ValueError) as error:
                raise DataError(
                    str(self.folder),
                    found=f"a file that is missing or too short for {len(self)} scenes ({error})",
                    allowed="the files as data_processing wrote them",
                    remedy="remove the folder and run kedro run --pipelines data_processing again",
                ) from error
        return self._maps


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a store, or `None` where there is none.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            str(path),
            found=f"text that is no manifest ({error})",
            allowed="the file as data_processing wrote it",
            remedy="remove the folder and run kedro run --pipelines data_processing again",
        ) from error
    return manifest
