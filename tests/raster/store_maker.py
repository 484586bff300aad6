"""A store of noise, filled as data_processing fills it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from xview2_siamese_unet.raster.io import write_mask
from xview2_siamese_unet.raster.pack import PackJob, Slot
from xview2_siamese_unet.raster.record import RECORD

HEIGHT, WIDTH = 12, 16


def draw_scene(folder: Path, seed: int) -> tuple[PackJob, np.ndarray]:
    """Write the four files of a scene; return its job and the pixels (h, w, 8) that a store must hold of it."""
    rng = np.random.default_rng(seed)
    pre, post = rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    pre[:2] = 0
    damage = rng.integers(0, 6, (HEIGHT, WIDTH), dtype=np.uint8)
    building = (damage > 0).astype(np.uint8)
    files = [folder / f"{seed}_{name}" for name in ("pre.png", "post.png", "building.tif", "damage.tif")]
    for path, image in zip(files[:2], (pre, post), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    for path, mask in zip(files[2:], (building, damage), strict=True):
        write_mask(path, mask)
    job = PackJob(f"a-fire_{seed:08d}", (files[0], files[1]), (files[2], files[3]), f"key{seed}")
    return job, np.dstack([pre, post, building, damage])


def empty_store(folder: Path, scenes: list[str]) -> list[Slot]:
    """Make room for scenes."""
    folder.mkdir(parents=True)
    with (folder / "pixels.u8").open("wb") as pixels, (folder / "records.bin").open("wb") as records:
        pixels.truncate(len(scenes) * HEIGHT * WIDTH * 8)
        records.truncate(len(scenes) * RECORD.itemsize)
    manifest = {"scenes": scenes, "height": HEIGHT, "width": WIDTH}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return [Slot(folder, row, HEIGHT, WIDTH) for row in range(len(scenes))]
