"""Reading a training pair: a 512² crop from the store, against decoding two PNGs and two masks of 1024².

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_read.py ../shared/xbd

Also measures packing and extrapolates its time and disk space to all 11,034 pairs of xBD.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from xview2_siamese_unet.config.data_processing import DataProcessingParams
from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import MasksDataset
from xview2_siamese_unet.datasets.store import StoreDataset
from xview2_siamese_unet.pipelines.data_processing import nodes
from xview2_siamese_unet.raster.store import Store, scene_bytes

PAIRS = 11_034
CROP = 512


def prepare(root: Path, out: Path) -> tuple[Store, list[tuple[Path, ...]]]:
    """Run data_processing on one core; print seconds per scene and step. Return the store and the scenes' files."""
    params, executor = DataProcessingParams(), ExecutorParams()
    dataset = DatasetParams(source="xbd", root=root, name="bench")
    started = time.process_time()
    files = nodes.list_scenes(root, params)
    _, scenes, _ = nodes.parse_labels(root, files, dataset, params, executor)
    parsed = time.process_time()
    masks = MasksDataset(filepath=str(out / "masks"))
    masks.save(nodes.burn_masks(root, files, scenes, params, executor))
    burnt = time.process_time()
    store = StoreDataset(filepath=str(out / "store"))
    store.save(nodes.pack_scenes(root, scenes, masks.load(), params, executor))
    packed = time.process_time()
    steps = {"parse": parsed - started, "burn and write masks": burnt - parsed, "pack": packed - burnt}
    for step, seconds in steps.items():
        each = seconds / len(scenes)
        whole = each * PAIRS / 60
        print(f"  {step:22s}{1000 * each:7.1f} ms a pair, CPU time; {PAIRS} pairs: {whole:5.1f} min on one core")
    opened = store.load()
    print(f"  store: {PAIRS} pairs take {PAIRS * scene_bytes(opened.height, opened.width) / 1e9:.1f} GB")
    rows = zip(scenes["tier"] + "/" + scenes["scene"], scenes["pre_image"], scenes["post_image"], strict=True)
    of = masks.load()
    return opened, [
        (root / pre, root / post, of(name).path("building"), of(name).path("damage")) for name, pre, post in rows
    ]


def decode(files: tuple[Path, ...]) -> list[np.ndarray]:
    arrays = []
    for path in files:
        with Image.open(path) as image:
            arrays.append(np.asarray(image).astype(np.float32) / 255)
    return arrays


def crop(store: Store, row: int, rng: np.random.Generator) -> np.ndarray:
    top, left = rng.integers(0, (store.height - CROP + 1, store.width - CROP + 1))
    return np.array(store.pixels[row, top : top + CROP, left : left + CROP])


def main(root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, scenes = prepare(root, Path(folder))
        rng = np.random.default_rng(1)
        for row in range(len(store)):  # both ways from the page cache
            crop(store, row, rng)
        ours, theirs = [], []
        for row, files in enumerate(scenes):
            started = time.process_time()
            decode(files)
            decoded = time.process_time()
            for _ in range(20):
                crop(store, row, rng)
            ours.append((time.process_time() - decoded) / 20)
            theirs.append(decoded - started)
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"one training pair, CPU time, median of {len(scenes)} scenes in turns")
    print(f"  a {CROP}² crop of the store            {1000 * mine:7.2f} ms")
    ratio = other / mine
    print(f"  two PNGs and two masks to floats   {1000 * other:7.2f} ms   ratio {ratio:5.0f}  (target: at least 100)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
