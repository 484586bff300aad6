"""Previews for Kedro-Viz of scenes, masks and the store, as base64 PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import read_mask, read_rgb
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.types import UInt8Array
from xview2_siamese_unet.xbd.scenes import list_pairs

ROWS: Final = 3
_SIDE: Final = 256
_PALETTE: Final = np.array([code.rgb for code in Damage], np.uint8)


def picture_of_pairs(folder: Path) -> str:
    """Return some scenes of a dataset folder, both images side by side."""
    pairs, _ = list_pairs(folder)
    return _sheet([read_rgb(folder / pair.images["pre"]), read_rgb(folder / pair.images["post"])] for pair in pairs)


def picture_of_masks(folder: Path) -> str:
    """Return the building and damage masks of some scenes."""
    masks = [path for path in sorted(folder.glob("*/*_damage.tif")) if not path.name.startswith(".")]
    return _sheet([_paint(read_mask(each), each) for each in (_building(path), path)] for path in masks)


def picture_of_store(store: Store) -> str:
    """Return some scenes of a store: both images and damage."""
    scenes = (store.scene(name) for name in store.scenes)
    return _sheet([scene.pre, scene.post, _paint(scene.damage, store.folder)] for scene in scenes)


def _building(damage: Path) -> Path:
    return damage.with_name(damage.name.replace("_damage.tif", "_building.tif"))


def _paint(mask: UInt8Array, where: Path) -> UInt8Array:
    if (highest := int(mask.max())) >= len(_PALETTE):
        raise DataError(
            f"{where} contains class code {highest}, which is not defined.",
            hint="Remove the file and run kedro run --pipelines data_processing again.",
        )
    return _PALETTE[mask]


def _sheet(rows: Iterable[Sequence[UInt8Array]]) -> str:
    """Join the first rows; each picture (h, w, 3) is reduced to fit."""
    lines = [np.hstack([_reduce(picture) for picture in row]) for row in islice(rows, ROWS)]
    buffer = io.BytesIO()
    Image.fromarray(np.vstack(lines) if lines else np.zeros((1, 1, 3), np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _reduce(picture: UInt8Array) -> UInt8Array:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((_SIDE, _SIDE), Image.Resampling.BOX))
