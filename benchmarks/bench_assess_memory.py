"""Peak memory of an assessment by image size: sparse pairs, a stub network, all rasters written.

    uv run python benchmarks/bench_assess_memory.py [side ...]      default: 20000 40000

Each size runs in its own process, because a peak never decreases.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.prediction import predict_rows
from xview2_siamese_unet.models.vote import FinishedBlocks
from xview2_siamese_unet.raster.cog import RasterContent, write_cog
from xview2_siamese_unet.raster.io import BANDS
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

SIDES = (20_000, 40_000)


def measure(side: int, folder: Path) -> tuple[float, float]:
    """Assess a sparse pair of `side` pixels; return seconds and the peak in megabytes."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": side, "width": side, "crs": "EPSG:32615"}
    options = {"tiled": True, "sparse_ok": True, "bigtiff": "YES", "transform": Affine(0.5, 0, 5e5, 0, -0.5, 4e6)}
    rng = np.random.default_rng(0)
    for name in ("pre.tif", "post.tif"):
        with rasterio.open(folder / name, "w", **profile, **options) as target:
            for k in range(0, side - 2000, side // 5):
                target.write(rng.integers(1, 255, (3, 1500, 1500), dtype=np.uint8), window=Window(k, k, 1500, 1500))

    def stand_in(pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        return np.full((*pre.shape[:3], 5), 0.2, np.float32)

    started = time.monotonic()
    params = InferenceParams(pre=folder / "pre.tif", post=folder / "post.tif", registration="off")
    pair = harmonise(params).pair
    plan, store = WindowPlan(side, side, params.windows.size, params.windows.overlap), BlockStore(folder / "blocks")
    for number, columns in predict_rows(pair, plan, stand_in, store, 2):
        store.write_row(number, columns)
    blocks = FinishedBlocks(plan, store)
    codes = blocks.codes((1.0, 2.0, 2.0, 1.0))
    write_cog(folder / "d.tif", RasterContent(pair.grid, ("damage",), codes, {}))
    write_cog(folder / "p.tif", RasterContent(pair.grid, BANDS, blocks.shares()))
    return time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(sides: list[int]) -> None:
    """Print a table and the ratio of the last peak to the first."""
    peaks = []
    for side in sides:
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("forkserver")) as fresh:
            seconds, peak = fresh.submit(measure, side, Path(folder)).result()
        peaks.append(peak)
        print(f"{side:>6} × {side:<6} {seconds:5.0f} s   peak {peak:.0f} MB")
    print(f"largest to smallest peak: {max(peaks) / min(peaks):.2f}")


if __name__ == "__main__":
    main([int(side) for side in sys.argv[1:]] or list(SIDES))
