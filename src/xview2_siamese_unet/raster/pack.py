"""One scene → its slot in the store."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import read_mask, read_rgb
from xview2_siamese_unet.raster.record import RECORD, ByteArray, count_scene
from xview2_siamese_unet.raster.store import CHANNELS


@dataclass(frozen=True, slots=True)
class PackJob:
    """The files of one scene.

    Attributes:
        scene: name of the scene.
        images: pre- and post-disaster image.
        masks: building and damage mask.
        labels_key: key of the labels that the masks were burnt from.
    """

    scene: str
    images: tuple[Path, Path]
    masks: tuple[Path, Path]
    labels_key: str


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
    """
    key = _key(job)
    records = np.memmap(slot.folder / "records.bin", RECORD, "r+")
    if records[slot.row]["key"] == key:
        return False
    records[slot.row]["key"] = b""
    pixels = np.memmap(
        slot.folder / "pixels.u8",
        np.uint8,
        "r+",
        offset=slot.row * slot.height * slot.width * CHANNELS,
        shape=(slot.height, slot.width, CHANNELS),
    )
    for first, image in zip((0, 3), job.images, strict=True):
        pixels[..., first : first + 3] = _checked(read_rgb(image), slot, image)
    for channel, mask in zip((6, 7), job.masks, strict=True):
        pixels[..., channel] = _checked(read_mask(mask), slot, mask)
    pixels.flush()
    record = count_scene(pixels)
    record["key"] = key
    records[slot.row] = record
    records.flush()
    return True


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

    A PNG ends with checksums of all its pixels, so its size and last 64 bytes stand for the whole file; a TIFF has
    none and is read whole.
    """
    digest = blake2b(job.labels_key.encode(), digest_size=16)
    for image in job.images:
        with image.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 64, 0) if image.suffix.lower() == ".png" else 0)
            digest.update(size.to_bytes(8) + file.read())
    return digest.hexdigest().encode()
