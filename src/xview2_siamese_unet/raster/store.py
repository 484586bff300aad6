"""All scenes of a dataset in one memory-mapped array of bytes: what training and scoring read.

A crop of 512² from it takes a fifth of a millisecond, two PNGs and two masks 60 to 140. Each scene has one
record, written after its pixels: a scene without a record was interrupted while it was packed and is not read.

Files in the folder of a store:
    pixels.u8      (n, h, w, 8) uint8: pre RGB, post RGB, building 0/1, damage 0–5
    records.bin    (n,) `RECORD`
    manifest.json  scene names in order, height and width
    problems.json  the scenes that could not be packed and were left out, as rows of the ingest report
"""

from __future__ import annotations

import errno
import json
import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image as PillowImage

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError, StorageError
from xview2_siamese_unet.types import AnyArray, Image, Mask, Pixels, StorePixels

CHANNELS: Final = 8
RECORD: Final = np.dtype(
    [
        ("key", "S32"),
        ("building_pixels", "<i8", (2,)),
        ("damage_pixels", "<i8", (N_CODES,)),
        ("valid_pixels", "<i8", (2,)),
        ("channel_sums", "<i8", (2, 3)),
        ("channel_squares", "<i8", (2, 3)),
    ]
)
"""`packing.scene_key` of the pixels, and counts as integers, which add up exactly; the first axis of the last three is
(pre, post). `valid_pixels` leaves out black ones, which hold no data."""
_VALUES: Final = np.arange(256, dtype=np.int64)
# Bytes requested in one call: of a longer range, a system may read no more than its usual read-ahead.
_READ_AHEAD: Final = 1 << 17
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_PACK: Final = "Run kedro run --pipelines data_processing with the same environment first."
_REBUILD: Final = "Remove the folder and run kedro run --pipelines data_processing again."


@dataclass(frozen=True, slots=True)
class Scene:
    """Views into the store: images, building 0/1, damage 0–5."""

    pixels: Pixels

    @property
    def pre(self) -> Image:
        """Pre-disaster image."""
        return self.pixels[..., 0:3]

    @property
    def post(self) -> Image:
        """Post-disaster image."""
        return self.pixels[..., 3:6]

    @property
    def building(self) -> Mask:
        """Ground truth of localisation, from the pre-disaster label."""
        return self.pixels[..., 6]

    @property
    def damage(self) -> Mask:
        """Ground truth of damage, from the post-disaster label."""
        return self.pixels[..., 7]


class Store:
    """A store opened for reading; cheap to pickle, so that each worker maps the files itself.

    Raises:
        DataError: there is no store in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = read_manifest(folder)
        if manifest is None:
            raise DataError(f"{folder} contains no store.", hint=_PACK)
        self.scenes: tuple[str, ...] = tuple(manifest["scenes"])
        self.height: int = manifest["height"]
        self.width: int = manifest["width"]
        self._row = {name: row for row, name in enumerate(self.scenes)}
        self._maps: tuple[StorePixels, AnyArray] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the folder only: a memory map would be copied with all its pixels."""
        return Store, (self.folder,)

    def __len__(self) -> int:
        return len(self.scenes)

    def rows(self, names: Sequence[str]) -> list[int]:
        """Return the row of each scene.

        Raises:
            DataError: a scene that is not in the store, or whose packing was interrupted.
        """
        keys = self.records["key"]
        for name in names:
            if name not in self._row or not keys[self._row[name]]:
                raise DataError(f"{self.folder} contains no finished scene {name}.", hint=_PACK)
        return [self._row[name] for name in names]

    @property
    def problems(self) -> list[list[str]]:
        """Rows of `PROBLEM_COLUMNS` of the scenes that were left out while packing."""
        path = self.folder / "problems.json"
        rows: list[list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return rows

    @property
    def pixels(self) -> StorePixels:
        """All scenes, mapped and not read."""
        return self._map()[0]

    @property
    def records(self) -> AnyArray:
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
        """Ask the operating system to read the lines `top` to `bottom` of a scene, if it can.

        By default it reads ahead of and around every line that is touched: for a crop, four times as much as is needed.
        """
        pages = self.pixels.base
        if not isinstance(pages, mmap.mmap) or not hasattr(pages, "madvise"):
            return
        line = self.width * CHANNELS
        first = (row * self.height + top) * line
        last = (row * self.height + (self.height if bottom is None else bottom)) * line
        for start in range(first - first % mmap.PAGESIZE, last, _READ_AHEAD):
            pages.madvise(mmap.MADV_WILLNEED, start, min(_READ_AHEAD, last - start))

    def _map(self) -> tuple[StorePixels, AnyArray]:
        if self._maps is None:
            shape = (len(self), self.height, self.width, CHANNELS)
            try:
                self._maps = (
                    np.memmap(self.folder / "pixels.u8", np.uint8, "r", shape=shape),
                    np.memmap(self.folder / "records.bin", RECORD, "r", shape=(len(self),)),
                )
            except (OSError, ValueError) as error:
                raise DataError(
                    f"A file of {self.folder} is missing or too short for {len(self)} scenes ({error}).", hint=_REBUILD
                ) from error
        return self._maps


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a store, `None` if it does not exist.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not a manifest of a store ({error}).", hint=_REBUILD) from error
    return manifest


@dataclass(frozen=True, slots=True)
class Slot:
    """The row of a store to which a scene (height, width) is written."""

    folder: Path
    row: int

    def made_from(self) -> str | None:
        """Return the key of the pixels, `None` if none are packed."""
        with (self.folder / "records.bin").open("rb", buffering=0) as records:
            records.seek(self.row * RECORD.itemsize)
            record = records.read(RECORD.itemsize)
        return str(np.frombuffer(record, RECORD)["key"][0], "ascii") or None

    def write(self, read: Callable[[], Pixels], made_from: str | None) -> None:
        """Write the pixels of a scene, then its record.

        The record is erased first, so that an interrupted run leaves none and the scene is packed again.

        Raises:
            DataError: the pixels cannot be read.
            StorageError: no space is left.
        """
        self._write_record(bytes(RECORD.itemsize))
        pixels = read()
        record = scene_record(pixels)
        record["key"] = made_from
        _write(self.folder / "pixels.u8", pixels, self.row * pixels.nbytes)
        self._write_record(record.tobytes())

    def _write_record(self, record: bytes) -> None:
        with (self.folder / "records.bin").open("r+b", buffering=0) as records:
            records.seek(self.row * RECORD.itemsize)
            records.write(record)


def _write(path: Path, pixels: Pixels, offset: int) -> None:
    # Not through a memory map, for which a full disk kills the process by a signal instead of an error.
    try:
        with path.open("r+b", buffering=0) as file:
            file.seek(offset)
            left = pixels.reshape(-1)
            while left.size:
                left = left[file.write(left.data) :]
            os.fsync(file.fileno())  # pixels are on the disk before their record is
    except OSError as error:
        if error.errno in _FULL:
            raise full_disk(path.parent, pixels.nbytes, 0) from error
        raise


def full_disk(folder: Path, needed: int, free: int) -> StorageError:
    """Return the error of a store that does not fit; sizes in bytes."""
    return StorageError(
        f"{folder} has {free / 1e9:.1f} GB of free space; the store needs {needed / 1e9:.1f} GB.",
        hint="Free space, set storage to a larger disk, or use a subset (dataset.use_main_dataset, dataset.subset).",
    )


def scene_bytes(height: int, width: int) -> int:
    """Return the bytes that one scene takes in a store."""
    return height * width * CHANNELS + RECORD.itemsize


def scene_record(pixels: Pixels) -> AnyArray:
    """Return the record of one scene without its key."""
    record = np.zeros((), RECORD)
    # Pillow counts bytes as they are; `np.bincount` would first make an integer of eight bytes of each.
    halves = (PillowImage.fromarray(np.ascontiguousarray(pixels[..., part])) for part in (slice(0, 4), slice(4, 8)))
    bins = np.array([half.histogram() for half in halves], np.int64).reshape(CHANNELS, 256)
    record["building_pixels"] = bins[6, :2]
    record["damage_pixels"] = bins[7, :N_CODES]
    record["channel_sums"] = (bins[:6] @ _VALUES).reshape(2, 3)
    record["channel_squares"] = (bins[:6] @ _VALUES**2).reshape(2, 3)
    for image, (red, green, blue) in enumerate((range(3), range(3, 6))):
        record["valid_pixels"][image] = np.count_nonzero(pixels[..., red] | pixels[..., green] | pixels[..., blue])
    return record
