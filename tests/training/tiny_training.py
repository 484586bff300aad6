"""A tiny store and a tiny net that train in a fraction of a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from xview2_siamese_unet.config.modelling import (
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
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.siamese_unet import Normalise
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.trainer import Folders

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
    """Return a scene (64, 64, 8) of bright square buildings, which are redder after worse damage."""
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


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and key in result else value
    return result


def make_recipe(**changes: dict[str, Any]) -> Recipe:
    """Return `BASE` with other values: `make_recipe(training={"epochs": 1})`."""
    sections = {name: merged(BASE[name], changes.get(name, {})) for name in BASE}
    return Recipe(**{name: SECTIONS[name].model_validate(values) for name, values in sections.items()})


def new_module(data: TrainingData, recipe: Recipe) -> DamageModule:
    net = build_net(recipe.model, recipe.classes.damage_classes)
    return DamageModule(net, Normalise(**data.channels), recipe, data.class_weights)


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Make validation return these scores, epoch by epoch."""

    def next_score(*_: object) -> dict[str, float]:
        return {"score": scores.pop(0), "localization_f1": 0.1, "damage_f1": 0.2}

    monkeypatch.setattr("xview2_siamese_unet.training.module.official_score", next_score)


def last(folders: Folders) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folders.checkpoints / "epochs" / "last.ckpt", weights_only=True)
    return checkpoint


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
