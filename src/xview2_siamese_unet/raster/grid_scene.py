"""A scene of the xBD layout as two GeoTIFFs, which any tool for maps can place: its PNGs do not say where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import create, read_rgb
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import Row, georeference
from xview2_siamese_unet.xbd.scenes import PHASES


def write_geotiffs(root: Path, scene: Row, folder: Path) -> tuple[Path, Path]:
    """Write both dates of a scene to `folder` with place and date, and return the files.

    Args:
        root: folder of the dataset.
        scene: a row of `SCENE_COLUMNS`.
        folder: where the files go, as `<scene>_pre_disaster.tif` and `<scene>_post_disaster.tif`.

    Raises:
        DataError: an image that cannot be read, or a scene whose place on Earth is not known.
    """
    place = georeference(scene)
    if place is None:
        raise DataError(
            str(scene["scene"]),
            found="a scene whose label does not tell where it lies",
            allowed="scenes with an epsg in the table of scenes",
            remedy="choose another scene",
        )
    pre, post = (folder / f"{scene['scene']}_{phase}_disaster.tif" for phase in PHASES)
    _write(pre, root / scene["pre_image"], place, scene["pre_date"])
    _write(post, root / scene["post_image"], place, scene["post_date"])
    return pre, post


def _write(path: Path, image: Path, place: Georeference, taken: str) -> None:
    pixels = np.moveaxis(read_rgb(image), 2, 0)
    with create(path, pixels.shape, place, compress="deflate", photometric="RGB") as target:
        target.write(pixels)
        # 2011-05-22T10:00:00.000Z in a label, 2011:05:22 10:00:00 in a TIFF
        target.update_tags(TIFFTAG_DATETIME=taken[:10].replace("-", ":") + " " + taken[11:19])
