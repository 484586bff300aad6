"""Stores of a few small scenes, written without labels and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xview2_siamese_unet.raster.store import RECORD, Store, scene_record


def write_store(folder: Path, scenes: dict[str, np.ndarray]) -> Store:
    """Return a store of these scenes, uint8 (h, w, 8) each."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = next(iter(scenes.values())).shape[:2]
    records = np.zeros(len(scenes), RECORD)
    for row, (name, pixels) in enumerate(scenes.items()):
        records[row] = scene_record(pixels)
        records[row]["key"] = f"{name}{pixels.sum()}".encode()
    np.stack(list(scenes.values())).tofile(folder / "pixels.u8")
    records.tofile(folder / "records.bin")
    (folder / "manifest.json").write_text(json.dumps({"scenes": list(scenes), "height": height, "width": width}))
    return Store(folder)


def noisy_scenes(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return scenes of random images and codes, uint8 (64, 64, 8) each."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(names), 64, 64, 8)).astype(np.uint8)
    pixels[..., 6] %= 2
    pixels[..., 7] %= 6
    return dict(zip(names, pixels, strict=True))
