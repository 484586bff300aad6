"""Time and peak memory of the features of many footprints: `package`, both images, synthetic rasters.

    uv run python benchmarks/bench_embedding.py [FOOTPRINTS ...]

Footprints are houses of 24 × 24 pixels, one every 40 pixels, on rasters as large as they need; each number runs in a
separate process; a MB is 1024² bytes. `fit` is a head fitted on 200 labels, without the scores of the report. About
950 MB are torch and the other libraries, and 350 MB the network on one window. Targets for 10,000: 180 s,
1.5 GB; fit below 10 s; growth up to 100,000 below 10 %.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import torch
from affine import Affine

from xview2_siamese_unet.adaptation.fitting import Labelled, fit_head, spatial_blocks
from xview2_siamese_unet.adaptation.sources import embed_with
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.inference.pair import harmonise

STEP = 40
LABELS = 200


def measure(count: int) -> tuple[float, float, float]:
    """Return seconds to embed `count` footprints and to fit, and the peak in megabytes."""
    torch.set_num_threads(1)
    across = int(np.ceil(count**0.5))
    side = across * STEP
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("pre", "post"):
            size = {"dtype": "uint8", "count": 3, "height": side, "width": side, "tiled": True}
            with rasterio.open(
                folder / f"{name}.tif", "w", driver="GTiff", crs="EPSG:32615", transform=transform, **size
            ) as file:
                for top in range(0, side, 512):
                    height = min(512, side - top)
                    window = rasterio.windows.Window(0, top, side, height)
                    file.write(rng.integers(1, 255, (3, height, side), np.uint8), window=window)
        column, row = np.divmod(np.arange(count), across)
        left, top = 500_000 + column * STEP / 2, 4_000_000 - row * STEP / 2
        boxes = shapely.box(left + 4, top - 16, left + 16, top - 4)
        footprints = gpd.GeoSeries(boxes, crs="EPSG:32615")
        pair = harmonise(InferenceParams(pre=folder / "pre.tif", post=folder / "post.tif", registration="off")).pair
        started = time.perf_counter()
        embedding = embed_with(["package"], footprints, pair, folder)
        embedded_at = time.perf_counter()
        labelled = rng.choice(count, min(LABELS, count), replace=False)
        classes = np.where(rng.random(len(labelled)) < 0.2, 4, 1)
        points = np.column_stack([left, top])[labelled].astype(float)
        weights = np.ones(len(labelled))
        fit_head(embedding, Labelled(embedding.rows(labelled), classes, spatial_blocks(points), weights))
        fitted_at = time.perf_counter()
    return embedded_at - started, fitted_at - embedded_at, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(counts: list[int]) -> None:
    """Print a line for each number of footprints, and how much the peak grows."""
    peaks = []
    for count in counts:
        with ProcessPoolExecutor(1, get_context("forkserver")) as fresh:
            embedding, fit, peak = fresh.submit(measure, count).result()
        peaks.append(peak)
        print(f"{count:>7} footprints   embed {embedding:4.0f} s   fit {fit:4.1f} s   peak {peak:.0f} MB")
    print(f"growth of the peak: {max(peaks) / min(peaks) - 1:.1%}")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [10_000, 100_000])
