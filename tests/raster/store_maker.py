"""Makes a store of random scenes like data_processing."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from xview2_siamese_unet.parallel import Lazy, make_missing
from xview2_siamese_unet.raster.io import write_mask
from xview2_siamese_unet.raster.masks import SceneMasks
from xview2_siamese_unet.raster.packing import read_scene, scene_key
from xview2_siamese_unet.raster.store import RECORD, Slot

HEIGHT, WIDTH = 12, 16


class Job(NamedTuple):
    """The files of one scene."""

    scene: str
    images: tuple[Path, Path]
    masks: SceneMasks
    made_from: str


def pack(slot: Slot, job: Job) -> bool:
    """Pack a scene; return whether it had to be packed."""
    read = partial(read_scene, job.images, job.masks, (HEIGHT, WIDTH))
    return bool(make_missing((slot, Lazy(read, partial(scene_key, job.images, job.made_from)))))


def draw_scene(folder: Path, seed: int) -> tuple[Job, np.ndarray]:
    """Write the four files of a scene; return its job and the pixels (h, w, 8) that the store must hold."""
    rng = np.random.default_rng(seed)
    pre, post = rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    pre[:2] = 0
    damage = rng.integers(0, 6, (HEIGHT, WIDTH), dtype=np.uint8)
    building = (damage > 0).astype(np.uint8)
    images = folder / f"{seed}_pre.png", folder / f"{seed}_post.png"
    folder.mkdir(parents=True, exist_ok=True)
    for path, image in zip(images, (pre, post), strict=True):
        Image.fromarray(image).save(path)
    masks = SceneMasks(folder, str(seed))
    write_mask(masks.path("building"), building)
    write_mask(masks.path("damage"), damage)
    return Job(f"a-fire_{seed:08d}", images, masks, f"key{seed}"), np.dstack([pre, post, building, damage])


def empty_store(folder: Path, scenes: list[str]) -> list[Slot]:
    """Create an empty store for scenes; return their slots."""
    folder.mkdir(parents=True)
    with (folder / "pixels.u8").open("wb") as pixels, (folder / "records.bin").open("wb") as records:
        pixels.truncate(len(scenes) * HEIGHT * WIDTH * 8)
        records.truncate(len(scenes) * RECORD.itemsize)
    manifest = {"scenes": scenes, "height": HEIGHT, "width": WIDTH}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return [Slot(folder, row) for row in range(len(scenes))]
