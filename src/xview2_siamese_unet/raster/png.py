"""Scenes of any release as 8-bit PNGs in the layout of the challenge: what other tools for xBD read."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.xbd.scenes import PHASES, ScenePair


def png_name(pair: ScenePair) -> str:
    """Return the path of the last file of `convert_scene`."""
    return f"{pair.tier}/labels/{pair.scene.stem('post')}.json"


def convert_scene(root: Path, pair: ScenePair) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of both images as PNG, then of both labels.

    Nothing is stretched, so that the two dates stay comparable; negative values and no data become black.

    Args:
        root: the dataset folder.
        pair: the files of the scene.

    Raises:
        DataError: an image that cannot be read, or holds values above 255.
    """
    for phase in PHASES:
        buffer = BytesIO()
        Image.fromarray(read_rgb(root / pair.images[phase])).save(buffer, "PNG")
        yield f"{pair.tier}/images/{pair.scene.stem(phase)}.png", buffer.getvalue()
    for phase in PHASES:
        yield f"{pair.tier}/labels/{pair.scene.stem(phase)}.json", (root / pair.labels[phase]).read_bytes()


def last_change(root: Path, pair: ScenePair) -> str:
    """Return when the files of a scene were last changed, in nanoseconds."""
    paths = (root / name for name in (*pair.images.values(), *pair.labels.values()))
    return str(max(path.stat().st_mtime_ns for path in paths))
