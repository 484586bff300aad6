"""Pixels per class of a split: from the records of the store, against decoding all pairs; one core.

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_counts.py ../shared/xbd

Counting costs time once, while a scene is packed and in memory anyway; that time is printed too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench_read import decode, prepare
from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.raster.store import scene_record
from xview2_siamese_unet.stats import count_classes


def main(root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, scenes = prepare(root, Path(folder))
        names = list(store.scenes)
        started = time.process_time()
        for _ in range(100):
            ours = count_classes(store.records[store.rows(names)])
        mine = (time.process_time() - started) / 100

        started = time.process_time()
        damage = np.zeros(N_CODES, np.int64)
        for files in scenes:
            *_, codes = decode(files)
            damage += np.bincount((codes * 255).round().astype(np.int64).ravel(), minlength=N_CODES)
        theirs = time.process_time() - started
        assert list(ours["post"].values()) == damage.tolist()

        pixels = [np.array(store.scene(name).pixels) for name in names]
        started = time.process_time()
        for scene in pixels:
            scene_record(scene)
        once = time.process_time() - started
    print(f"class counts of {len(names)} scenes, CPU time")
    print(f"  records of the store            {1000 * mine:9.2f} ms")
    print(
        f"  a pass over decoded pairs       {1000 * theirs:9.2f} ms   ratio {theirs / mine:7.0f}  (target: at least 20)"
    )
    print(f"  taken once, while packing       {1000 * once:9.2f} ms   ratio with it {theirs / (mine + once):5.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
