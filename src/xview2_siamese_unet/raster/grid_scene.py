"""A scene of the xBD layout as two GeoTIFFs, which any tool for maps can place: its PNGs do not say where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.xbd.names import PHASES


def write_geotiffs(root: Path, scene: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write both dates of a scene to `folder` with place and date, and return the files.

    Args:
        root: folder of the dataset.
        scene: a row of the table of scenes, one whose place on Earth is known.
        folder: where the files go, as `<scene>_pre_disaster.tif` and `<scene>_post_disaster.tif`.

    Raises:
        DataError: an image that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pre, post = (folder / f"{scene['scene']}_{phase}_disaster.tif" for phase in PHASES)
    _write(pre, root / scene["pre_image"], scene, scene["pre_date"])
    _write(post, root / scene["post_image"], scene, scene["post_date"])
    return pre, post


def _write(path: Path, image: Path, place: Mapping[str, Any], taken: str) -> None:
    pixels = read_rgb(image)
    height, width, count = pixels.shape
    size: dict[str, Any] = {"dtype": "uint8", "count": count, "height": height, "width": width}
    transform = Affine(place["pixel"], 0, place["left"], 0, -place["pixel"], place["top"])
    options = {"compress": "deflate", "photometric": "RGB", "crs": f"EPSG:{place['epsg']}", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **size, **options) as target:
        target.write(np.moveaxis(pixels, 2, 0))
        # 2011-05-22T10:00:00.000Z in a label, 2011:05:22 10:00:00 in a TIFF
        target.update_tags(TIFFTAG_DATETIME=taken[:10].replace("-", ":") + " " + taken[11:19])
