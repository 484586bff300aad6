"""The synthetic sample as PNGs and as GeoTIFFs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from sample_data import provide


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return provide(tmp_path_factory.mktemp("raw") / "sample").load()


@pytest.fixture(scope="session")
def geotiffs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample in the layout of the GeoTIFF release."""
    raw = tmp_path_factory.mktemp("geotiffs") / "raw"
    shutil.copytree(sample, raw)
    (raw / "tier1").rename(raw / "train")
    for image in raw.glob("*/images/*.png"):
        with Image.open(image) as opened:
            bands = np.asarray(opened).transpose(2, 0, 1).astype(np.int16)
        bands[:, (bands == 0).all(axis=0)] = -99
        profile = {"driver": "GTiff", "dtype": "int16", "count": 3, "height": 64, "width": 64, "nodata": -99}
        with rasterio.open(image.with_suffix(".tif"), "w", transform=rasterio.Affine.scale(2), **profile) as target:
            target.write(bands)
        image.unlink()
        (image.parent / f"{image.stem}.tif:Zone.Identifier").touch()
    return raw
