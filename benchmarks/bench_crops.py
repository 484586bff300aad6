"""Choosing a 512² training crop among several: all candidates weighed at once, against one by one.

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_crops.py      [CROPS]

Synthetic scenes of 1024² with 400 buildings each, already in memory. Both ways get the same random crops, alternate
every 20, and must return the same pixels. With one candidate nothing is chosen: that line is the cost of reading.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from small_store import write_store
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.crops import RARITY, Crops, corners
from xview2_siamese_unet.training.samplers import CropIndex

SIDE, CROP, SCENES, TURN = 1024, 512, 4, 20


def draw_scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (SIDE, SIDE, 8), dtype=np.uint8)
    pixels[..., 7] = 0
    for top, left in rng.integers(SIDE - 20, size=(400, 2)):
        pixels[top : top + 20, left : left + 20, 7] = rng.integers(1, 6)
    pixels[..., 6] = pixels[..., 7] > 0
    return pixels


def plain(store: Store, index: CropIndex, candidates: int) -> np.ndarray:
    """Count the classes of every candidate on its own."""
    scene, crops = store.pixels[index.scene], []
    for top, left in corners(SIDE, SIDE, CROP, index.seed, candidates).tolist():
        store.prefetch(index.scene, top, top + CROP)
        crops.append(scene[top : top + CROP, left : left + CROP])
    if candidates == 1:
        return np.array(crops[0])
    return np.array(max(crops, key=lambda crop: np.bincount(crop[..., 7].ravel(), minlength=len(RARITY)) @ RARITY))


def compare(store: Store, candidates: int, crops: int) -> str:
    chosen = Crops(store, store.scenes, CROP, candidates)
    ways: dict[str, Callable[[CropIndex], np.ndarray]] = {
        "each counted": lambda index: plain(store, index, candidates),
        "ours": lambda index: chosen[index].numpy(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, crops, TURN):
        indices = [CropIndex(seed % SCENES, seed) for seed in range(start, min(start + TURN, crops))]
        assert all(np.array_equal(*(way(index) for way in ways.values())) for index in indices)
        for name, way in ways.items():
            started = time.process_time()
            for index in indices:
                way(index)
            seconds[name].append((time.process_time() - started) / len(indices))
    theirs, ours = (1000 * statistics.median(seconds[name]) for name in ways)
    return f"  of {candidates:2d}: each counted {theirs:6.2f} ms, ours {ours:6.2f} ms   ratio {theirs / ours:5.1f}"


def main(crops: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", {f"s{seed}": draw_scene(seed) for seed in range(SCENES)})
        print(f"one {CROP}² crop of a scene of {SIDE}², CPU time, median of turns, {crops} crops in all")
        for candidates in (1, 2, 10):
            print(compare(store, candidates, crops))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
