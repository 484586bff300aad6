from __future__ import annotations

import json
import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import new_module

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.find_rate import find_rate, suggest
from xview2_siamese_unet.training.fit import Folders, fit
from xview2_siamese_unet.training.pairs import training_loader

MakeRecipe = Callable[..., Recipe]


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1.0, 100)
    fall = 1 / (1 + (rates / 1e-3) ** 2)  # steepest over the logarithm at 1e-3
    rise = np.where(rates > 0.05, 5 * (rates - 0.05), 0)
    assert suggest(rates.tolist(), (fall + rise).tolist()).suggestion == pytest.approx(1e-3, rel=0.15)


def test_rates_rise_until_the_loss_is_far_above_its_lowest(data: TrainingData, recipe: MakeRecipe) -> None:
    torch.manual_seed(0)
    settings = recipe()
    module = new_module(data, settings)
    curve = find_rate(module, training_loader(data, settings, 1), "cpu")
    assert len(curve.rates) == len(curve.losses) > 4  # the loader alone has two batches
    assert np.all(np.diff(curve.rates) > 0)
    assert curve.suggestion in curve.rates
    until = int(np.argmin(curve.losses))
    assert curve.suggestion <= curve.rates[max(1, until)]


@pytest.mark.parametrize("asked", [True, False])
def test_a_suggestion_is_left_beside_the_logs_and_training_is_as_without(
    *, data: TrainingData, folders: Folders, recipe: MakeRecipe, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    made = fit(data, recipe(training={"lr_find": asked, "epochs": 1}), folders, cores=1)
    plain = fit(data, recipe(training={"epochs": 1, "reuse": False}), folders, cores=1)
    assert made["history"] == plain["history"]
    path = folders.logfiles / "lr_find.json"
    assert path.exists() == asked
    if asked:
        assert json.loads(path.read_text())["suggestion"] > 0
        with Image.open(folders.logfiles / "lr_find.png") as picture:
            assert picture.width > 300
        assert (
            "training goes on with training.learning_rate 1.00e-03" in (folders.logfiles / "training.log").read_text()
        )
