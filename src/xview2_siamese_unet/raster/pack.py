"""One scene → its row in the store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np

from xview2_siamese_unet.errors import DataError, StorageError
from xview2_siamese_unet.raster.burn import Shape
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.raster.masks import Kind, SceneMasks
from xview2_siamese_unet.raster.record import RECORD, ByteArray, count_scene
from xview2_siamese_unet.raster.store import CHANNELS

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a scene goes: one row of a store of scenes (height, width)."""

    folder: Path
    row: int

    def made_from(self) -> str | None:
        """Return what the pixels were made from, `None` where there are none."""
        with (self.folder / "records.bin").open("rb", buffering=0) as records:
            record = os.pread(records.fileno(), RECORD.itemsize, self.row * RECORD.itemsize)
        return str(np.frombuffer(record, RECORD)["key"][0], "ascii") or None

    def write(self, read: Callable[[], ByteArray], made_from: str | None) -> None:
        """Write a scene's pixels, then its record.

        The record is erased first and written last: a run that fails or is killed in between leaves none, nobody reads
        the pixels, and the scene is packed again.

        Raises:
            DataError: the pixels cannot be read.
            StorageError: no space is left.
        """
        self._write_record(bytes(RECORD.itemsize))
        pixels = read()
        record = count_scene(pixels)
        record["key"] = made_from
        # Not through a memory map, where a full disk is a signal that kills the process and no error.
        _write(self.folder / "pixels.u8", pixels, self.row * pixels.nbytes)
        self._write_record(record.tobytes())

    def _write_record(self, record: bytes) -> None:
        with (self.folder / "records.bin").open("r+b", buffering=0) as records:
            os.pwrite(records.fileno(), record, self.row * RECORD.itemsize)


def read_scene(images: tuple[Path, Path], masks: SceneMasks, shape: Shape) -> ByteArray:
    """Return the pixels of a scene as the store keeps them, (h, w, 8).

    Args:
        images: pre- and post-disaster image.
        masks: of the scene.
        shape: height and width of all scenes of the store.

    Raises:
        DataError: an image or a mask that cannot be used.
    """
    pixels = np.empty((*shape, CHANNELS), np.uint8)
    for first, image in zip((0, 3), images, strict=True):
        pixels[..., first : first + 3] = _checked(read_rgb(image), shape, image)
    kinds: tuple[Kind, Kind] = ("building", "damage")
    for channel, kind in zip((6, 7), kinds, strict=True):
        pixels[..., channel] = _checked(masks.read(kind), shape, masks.path(kind))
    return pixels


def _write(path: Path, pixels: ByteArray, offset: int) -> None:
    try:
        with path.open("r+b", buffering=0) as file:
            data, written = pixels.reshape(-1), 0
            while written < data.size:
                written += os.pwrite(file.fileno(), data[written:].data, offset + written)
            os.fsync(file.fileno())  # pixels are on the disk before a record says so
    except OSError as error:
        if error.errno in _FULL:
            raise full_disk(path.parent, pixels.nbytes, 0) from error
        raise


def full_disk(folder: Path, needed: int, free: int) -> StorageError:
    """Return the error of a store that does not fit; sizes in bytes."""
    return StorageError(
        str(folder),
        found=f"{free / 1e9:.1f} GB of free space",
        allowed=f"at least {needed / 1e9:.1f} GB for the store",
        remedy="free space, set storage to a larger disk, or use a subset (dataset.use_main_dataset, dataset.subset)",
    )


def _checked(array: ByteArray, shape: Shape, path: Path) -> ByteArray:
    if array.shape[:2] != shape:
        raise DataError(
            str(path),
            found=f"{array.shape[1]} × {array.shape[0]} pixels",
            allowed=f"{shape[1]} × {shape[0]}, as in the other scenes of the dataset",
            remedy="leave the scene out, or put scenes of another size into a dataset of their own (dataset.name)",
        )
    return array


def scene_key(images: tuple[Path, Path], masks_made_from: str) -> str:
    """Return 32 letters that change when an image, a label or the rule changes.

    A PNG ends with checksums of all its pixels, so its size and last 64 bytes stand for the whole file. A TIFF has
    none; its size and time of change have to do, or every look for what is new would read the whole dataset.
    """
    digest = blake2b(masks_made_from.encode(), digest_size=16)
    for image in images:
        digest.update(_state(image))
    return digest.hexdigest()


def _state(image: Path) -> bytes:
    try:
        status = image.stat()
        if image.suffix.lower() != ".png":
            return f"{status.st_size} {status.st_mtime_ns}".encode()
        with image.open("rb") as file:
            file.seek(max(status.st_size - 64, 0))
            return status.st_size.to_bytes(8) + file.read()
    except OSError as error:
        raise DataError(
            str(image),
            found=f"a file that cannot be read ({error.strerror})",
            allowed="a whole PNG or GeoTIFF",
            remedy="restore the file from the download, or set data_processing.on_problem: skip",
        ) from error


def scene_bytes(height: int, width: int) -> int:
    """Return what one scene takes in a store."""
    return height * width * CHANNELS + RECORD.itemsize
