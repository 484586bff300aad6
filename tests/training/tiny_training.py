"""A tiny store and a tiny net, with which a run of training takes a fraction of a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from xview2_siamese_unet.params.modelling import (
    ClassesParams,
    DataloaderParams,
    FocalLossParams,
    HardwareParams,
    LossWeightsParams,
    ModelParams,
    PredictionParams,
    Recipe,
    TrainingParams,
)
from xview2_siamese_unet.raster.record import RECORD, count_scene
from xview2_siamese_unet.raster.store import Store

SIDE = 64
BASE: dict[str, dict[str, Any]] = {
    "model": {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": (16, 16, 8, 8, 8)},
    "classes": {},
    "training": {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3, "crop": 32, "scheduler": {"T_0": 2}},
    "prediction": {},
    "loss_weights": {},
    "focal_loss": {},
    "dataloader": {"num_workers_multiplier": 0},
    "hardware": {"device": "cpu", "precision": "32-true"},
}
SECTIONS = {
    "model": ModelParams,
    "classes": ClassesParams,
    "training": TrainingParams,
    "prediction": PredictionParams,
    "loss_weights": LossWeightsParams,
    "focal_loss": FocalLossParams,
    "dataloader": DataloaderParams,
    "hardware": HardwareParams,
}


def draw_scene(seed: int) -> np.ndarray:
    """A scene (64, 64, 8): bright square buildings on dark ground, the post image redder the worse the damage."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((SIDE, SIDE, 8), np.uint8)
    pixels[..., :6] = random.integers(20, 60, (SIDE, SIDE, 6))
    for row in range(0, SIDE, 16):
        for column in range(0, SIDE, 16):
            code = int(random.integers(0, 6))
            if code:
                house = pixels[row + 3 : row + 13, column + 3 : column + 13]
                house[..., :6] = 200
                house[..., 4:6] -= np.uint8(30 * code)
                house[..., 6] = 1
                house[..., 7] = code
    return pixels


def write_store(folder: Path, scenes: dict[str, np.ndarray]) -> Store:
    """A store of these scenes, (h, w, 8) each."""
    folder.mkdir(parents=True)
    height, width = next(iter(scenes.values())).shape[:2]
    records = np.zeros(len(scenes), RECORD)
    for row, (name, pixels) in enumerate(scenes.items()):
        records[row] = count_scene(pixels)
        records[row]["key"] = f"{name}{pixels.sum()}".encode()
    np.stack(list(scenes.values())).tofile(folder / "pixels.u8")
    records.tofile(folder / "records.bin")
    (folder / "manifest.json").write_text(json.dumps({"scenes": list(scenes), "height": height, "width": width}))
    return Store(folder)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in changes.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and key in both else value
    return both


def make_recipe(**changes: dict[str, Any]) -> Recipe:
    """`BASE` with other values: `make_recipe(training={"epochs": 1})`."""
    sections = {name: merged(BASE[name], changes.get(name, {})) for name in BASE}
    return Recipe(**{name: SECTIONS[name].model_validate(values) for name, values in sections.items()})
