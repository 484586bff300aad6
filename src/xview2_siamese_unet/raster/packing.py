"""Packing of the images and masks of a scene for the store, and the key of their content."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import read_rgb, unreadable_image
from xview2_siamese_unet.raster.masks import Kind, SceneMasks
from xview2_siamese_unet.raster.rasterize import Shape
from xview2_siamese_unet.raster.store import CHANNELS
from xview2_siamese_unet.types import Pixels, UInt8Array


def read_scene(images: tuple[Path, Path], masks: SceneMasks, shape: Shape) -> Pixels:
    """Return the pixels of a scene as the store keeps them.

    Raises:
        DataError: an image or a mask that cannot be used, or is not of this shape (h, w).
    """
    pixels = np.empty((*shape, CHANNELS), np.uint8)
    for first, image in zip((0, 3), images, strict=True):
        pixels[..., first : first + 3] = _checked(read_rgb(image), shape, image)
    kinds: tuple[Kind, Kind] = ("building", "damage")
    for channel, kind in zip((6, 7), kinds, strict=True):
        pixels[..., channel] = _checked(masks.read(kind), shape, masks.path(kind))
    return pixels


def _checked(array: UInt8Array, shape: Shape, path: Path) -> UInt8Array:
    if array.shape[:2] != shape:
        raise DataError(
            f"{path} has {array.shape[1]} × {array.shape[0]} pixels; the other scenes have {shape[1]} × {shape[0]}.",
            hint="Leave the scene out, or put scenes of another size into a separate dataset (dataset.name).",
        )
    return array


def scene_key(images: tuple[Path, Path], masks_made_from: str) -> str:
    """Return 32 characters that change when an image, a label or the rule changes.

    A PNG ends with checksums of all its pixels, so its size and last 64 bytes stand for the whole file. A TIFF has
    none; its size and modification time stand for it, because reading every file would take too long.
    """
    digest = blake2b(masks_made_from.encode(), digest_size=16)
    for image in images:
        try:
            status = image.stat()
            if image.suffix.lower() == ".png":
                with image.open("rb") as file:
                    file.seek(max(status.st_size - 64, 0))
                    digest.update(status.st_size.to_bytes(8) + file.read())
            else:
                digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
        except OSError as error:
            raise unreadable_image(image, error.strerror) from error
    return digest.hexdigest()
