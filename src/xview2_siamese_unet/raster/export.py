"""Export scenes for other tools: 8-bit PNGs as in the challenge, or GeoTIFFs."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import create, read_rgb
from xview2_siamese_unet.raster.source import open_raster
from xview2_siamese_unet.xbd.ingest import Row, georeference
from xview2_siamese_unet.xbd.scenes import PHASES, ScenePair

SYNTHETIC_TAG: Final = {"TIFFTAG_IMAGEDESCRIPTION": "synthetic scene of xview2-siamese-unet"}
"""Tag of a GeoTIFF of a synthetic scene."""


def png_name(pair: ScenePair) -> str:
    """Return the path of the last file of `export_scene`."""
    return f"{pair.tier}/labels/{pair.scene.stem('post')}.json"


def export_scene(root: Path, pair: ScenePair) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of both images as PNG, then of both labels.

    Nothing is stretched, so that the two images stay comparable; negative values and no data become black.

    Raises:
        DataError: an image that cannot be read, or holds values above 255.
    """
    for phase in PHASES:
        buffer = BytesIO()
        Image.fromarray(read_rgb(root / pair.images[phase])).save(buffer, "PNG")
        yield f"{pair.tier}/images/{pair.scene.stem(phase)}.png", buffer.getvalue()
    for phase in PHASES:
        yield f"{pair.tier}/labels/{pair.scene.stem(phase)}.json", (root / pair.labels[phase]).read_bytes()


def last_source_change(root: Path, pair: ScenePair) -> str:
    """Return when the files of a scene were last changed, in nanoseconds."""
    paths = (root / name for name in (*pair.images.values(), *pair.labels.values()))
    return str(max(path.stat().st_mtime_ns for path in paths))


def is_synthetic(path: Path) -> bool:
    """Return whether a GeoTIFF is tagged as a synthetic scene."""
    with open_raster(path) as raster:
        return bool(SYNTHETIC_TAG.items() <= raster.tags().items())


def write_geotiffs(root: Path, scene: Row, folder: Path) -> tuple[Path, Path]:
    """Write both images of a row of `SCENE_COLUMNS` as GeoTIFFs with georeference and date.

    Raises:
        DataError: an image that cannot be read, or a scene without a georeference.
    """
    location = georeference(scene)
    if location is None:
        raise DataError(
            f"Scene {scene['scene']} has no georeference: its label does not give one.",
            hint="Choose a scene with an epsg in the table of scenes.",
        )
    pre, post = (folder / f"{scene['scene']}_{phase}_disaster.tif" for phase in PHASES)
    for path, phase in ((pre, "pre"), (post, "post")):
        pixels, taken = np.moveaxis(read_rgb(root / scene[f"{phase}_image"]), 2, 0), scene[f"{phase}_date"]
        with create(path, pixels.shape, location, compress="deflate", photometric="RGB") as target:
            target.write(pixels)
            # 2011-05-22T10:00:00.000Z in a label, 2011:05:22 10:00:00 in a TIFF
            target.update_tags(TIFFTAG_DATETIME=taken[:10].replace("-", ":") + " " + taken[11:19])
            if str(scene["scene"]).startswith("sample-"):
                target.update_tags(**SYNTHETIC_TAG)
    return pre, post
