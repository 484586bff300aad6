"""One scene → its slot in the store."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError, StorageError
from xview2_siamese_unet.raster.io import read_mask, read_rgb
from xview2_siamese_unet.raster.record import RECORD, ByteArray, count_scene
from xview2_siamese_unet.raster.store import CHANNELS

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class PackJob:
    """The files of one scene.

    Attributes:
        scene: name of the scene.
        images: pre- and post-disaster image.
        masks: building and damage mask.
        masks_key: what the masks were burnt from, `MaskJob.key`.
    """

    scene: str
    images: tuple[Path, Path]
    masks: tuple[Path, Path]
    masks_key: str


class StorePlan(NamedTuple):
    """What a store is to hold, and what of it is to be packed now.

    Attributes:
        height: of every scene, in pixels.
        width: of every scene, in pixels.
        scenes: names of all.
        jobs: of these scenes, or of a part of them.
        skip: a scene that cannot be packed is left out; else it stops the run.
    """

    height: int
    width: int
    scenes: Sequence[str]
    jobs: Sequence[PackJob]
    skip: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a scene goes."""

    folder: Path
    row: int
    height: int
    width: int


def pack_scene(slot: Slot, job: PackJob) -> bool:
    """Write a scene's pixels, then its record; return whether that was needed.

    The record goes last and says from what the pixels were made: a run that is killed in between leaves a record that
    does not fit, and the scene is packed again.

    Raises:
        DataError: an image or a mask that cannot be used; the scene then has no record.
        StorageError: no space is left.
    """
    key = _key(job)
    with (slot.folder / "records.bin").open("r+b", buffering=0) as records:
        place = slot.row * RECORD.itemsize
        if os.pread(records.fileno(), RECORD.itemsize, place).startswith(key):
            return False
        os.pwrite(records.fileno(), bytes(RECORD.itemsize), place)
        pixels = _read(slot, job)
        record = count_scene(pixels)
        record["key"] = key
        # Not through a memory map, where a full disk is a signal that kills the process and no error.
        _write(slot.folder / "pixels.u8", pixels, slot.row * pixels.nbytes)
        os.pwrite(records.fileno(), record.tobytes(), place)
    return True


def pack_or_report(work: tuple[Slot, PackJob], *, skip: bool) -> bool | tuple[str, DataError]:
    """As `pack_scene`, but return scene and error where a scene that cannot be packed may be left out."""
    slot, job = work
    try:
        return pack_scene(slot, job)
    except DataError as error:
        if not skip:
            raise
        return job.scene, error


def _read(slot: Slot, job: PackJob) -> ByteArray:
    pixels = np.empty((slot.height, slot.width, CHANNELS), np.uint8)
    for first, image in zip((0, 3), job.images, strict=True):
        pixels[..., first : first + 3] = _checked(read_rgb(image), slot, image)
    for channel, codes, mask in zip((6, 7), (2, N_CODES), job.masks, strict=True):
        pixels[..., channel] = _checked(read_mask(mask), slot, mask)
        if (highest := int(pixels[..., channel].max())) >= codes:
            raise DataError(
                str(mask),
                found=f"the code {highest}",
                allowed=f"0 to {codes - 1}",
                remedy="remove the file and run data_processing again",
            )
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


def _checked(array: ByteArray, slot: Slot, path: Path) -> ByteArray:
    if array.shape[:2] != (slot.height, slot.width):
        raise DataError(
            str(path),
            found=f"{array.shape[1]} × {array.shape[0]} pixels",
            allowed=f"{slot.width} × {slot.height}, as in the other scenes of the dataset",
            remedy="leave the scene out, or put scenes of another size into a dataset of their own (dataset.name)",
        )
    return array


def _key(job: PackJob) -> bytes:
    """Return 32 bytes that change when an image, a label or the rule changes.

    A PNG ends with checksums of all its pixels, so its size and last 64 bytes stand for the whole file. A TIFF has
    none; its size and time of change have to do, or every look for what is new would read the whole dataset.
    """
    digest = blake2b(job.masks_key.encode(), digest_size=16)
    for image in job.images:
        digest.update(_state(image))
    return digest.hexdigest().encode()


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
