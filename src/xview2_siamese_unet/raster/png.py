"""Scenes of any release as 8-bit PNGs in the layout of the challenge: what other tools for xBD read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.xbd.names import PHASES
from xview2_siamese_unet.xbd.pairing import ScenePair


class PngPlan(NamedTuple):
    """Which scenes are to be written as PNG.

    Attributes:
        root: the dataset folder.
        pairs: the scenes, none where nobody asked for PNGs.
    """

    root: Path
    pairs: list[ScenePair]


def write_png_scene(root: Path, folder: Path, pair: ScenePair) -> bool:
    """Write both images as PNG, and copy both labels, to `<folder>/<tier>`; return whether that was needed.

    Nothing is stretched, so that the two dates stay comparable; negative values and no data become black.

    Args:
        root: the dataset folder.
        folder: where the layout starts.
        pair: the files of the scene.

    Raises:
        DataError: an image that cannot be read, or holds values above 255.
    """
    made = []
    for phase in PHASES:
        image, label = root / pair.images[phase], root / pair.labels[phase]
        images, labels = (folder / pair.tier / kind / pair.scene.stem(phase) for kind in ("images", "labels"))
        made += [
            _renew(image, images.with_suffix(".png"), partial(_convert, image)),
            _renew(label, labels.with_suffix(".json"), partial(shutil.copyfile, label)),
        ]
    return any(made)


def _convert(image: Path, png: Path) -> None:
    Image.fromarray(read_rgb(image)).save(png, "PNG")


def _renew(source: Path, target: Path, write: Callable[[Path], object]) -> bool:
    """Write a file whole or not at all, unless it was made from the source as it is: then it has the same date."""
    changed = source.stat().st_mtime_ns
    if target.exists() and target.stat().st_mtime_ns == changed:
        return False
    with whole_file(target) as part:
        write(part)
        os.utime(part, ns=(changed, changed))
    return True
