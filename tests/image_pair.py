"""Rasters with known pixels, and pairs of them on one grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine

from xview2_siamese_unet.config.inference import ImageParams, InferenceParams
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

if TYPE_CHECKING:
    from xview2_siamese_unet.inference.prediction import Predict

Write = Callable[..., Path]
Smooth = Callable[..., np.ndarray]
ORIGIN = (500_000.0, 4_000_000.0)


@pytest.fixture
def write_raster(tmp_path: Path) -> Write:
    """Write (h, w, bands) as a GeoTIFF below `tmp_path`; more keywords go to rasterio."""

    def write(name: str, image: np.ndarray, transform: Affine | None = None, **profile: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = image[..., None] if image.ndim == 2 else image
        height, width, count = bands.shape
        georeference = {"crs": "EPSG:32615", "transform": transform or Affine(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1])}
        options = {"dtype": bands.dtype, "count": count, "height": height, "width": width, **georeference, **profile}
        meaning = options.pop("colorinterp", None)
        with rasterio.open(path, "w", driver="GTiff", **options) as target:
            target.write(np.moveaxis(bands, 2, 0))
            if meaning:
                target.colorinterp = meaning
        return path

    return write


@pytest.fixture
def smooth() -> Callable[..., np.ndarray]:
    """Make a smooth image, uint8 (h, w, 3), which resampling hardly changes."""

    def make(height: int = 200, width: int = 300, phase: float = 0.0) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        bands = [127 + 120 * np.sin(x / (23 + 5 * k) + phase + k) * np.cos(y / (31 - 4 * k)) for k in range(3)]
        return np.clip(np.rint(np.stack(bands, axis=2)), 1, 255).astype(np.uint8)

    return make


def pair_of(pre: Path, post: Path, **images: object) -> HarmonisedPair:
    return harmonise(InferenceParams(pre=pre, post=post, registration="off", images=ImageParams.model_validate(images)))


def whole(harmonised: HarmonisedPair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = harmonised.pair.grid
    with harmonised.pair.open() as reader:
        return reader.read(0, 0, grid.height, grid.width)


def fill(pair: Pair, plan: WindowPlan, predict: Predict, store: BlockStore, batch_size: int) -> None:
    """Predict every row that the store does not hold yet, as the pipeline does."""
    from xview2_siamese_unet.inference.prediction import predict_rows  # noqa: PLC0415  torch is slow to import

    for number, columns in predict_rows(pair, plan, predict, store, batch_size):
        store.write_row(number, columns)
