from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import new_module
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from xview2_siamese_unet.config.modelling import Recipe, SchedulerParams
from xview2_siamese_unet.training.data import TrainingData, training_loader
from xview2_siamese_unet.training.learning_rate import find_rate, learning_rate, suggest
from xview2_siamese_unet.training.trainer import Folders, fit

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(("period", "factor", "lowest"), [(1, 1, 0.0), (3, 1, 1e-4), (2, 2, 1e-5), (10, 3, 0.0)])
def test_the_schedule_equals_that_of_torch(period: int, factor: int, lowest: float) -> None:
    params = SchedulerParams(T_0=period, T_mult=factor, eta_min=lowest)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=factor, eta_min=lowest)
    optimizer.step()
    for tenth in range(200):
        reference.step(tenth / 10)
        assert learning_rate(tenth / 10, 0.01, params) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-8)


def test_warm_up_is_linear() -> None:
    params = SchedulerParams(T_0=4, eta_min=1e-4)
    rates = [learning_rate(epoch / 2, 0.01, params, warmup=2) for epoch in range(5)]
    assert rates == pytest.approx([1e-4, 0.002575, 0.00505, 0.007525, 0.01])
    assert learning_rate(3.5, 0.01, params, warmup=2) == learning_rate(1.5, 0.01, params)


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1.0, 100)
    fall = 1 / (1 + (rates / 1e-3) ** 2)  # steepest over the logarithm at 1e-3
    rise = np.where(rates > 0.05, 5 * (rates - 0.05), 0)
    assert suggest(rates.tolist(), (fall + rise).tolist()).suggestion == pytest.approx(1e-3, rel=0.15)


@pytest.mark.slow
def test_rates_rise_until_the_loss_is_far_above_its_lowest(data: TrainingData, recipe: MakeRecipe) -> None:
    torch.manual_seed(0)
    module, batches = new_module(data, recipe()), training_loader(data, recipe(), 1)
    curve = find_rate(AdamW(module.net.parameters()), lambda batch: module.training_loss(batch, torch.clone), batches)
    assert len(curve.rates) == len(curve.losses) > 4  # the loader has only two batches
    assert np.all(np.diff(curve.rates) > 0)
    assert curve.suggestion in curve.rates
    lowest_loss = int(np.argmin(curve.losses))
    assert curve.suggestion <= curve.rates[max(1, lowest_loss)]


@pytest.mark.slow
def test_a_suggestion_is_written_next_to_the_logs_and_does_not_change_the_training(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    histories = []
    for lr_find in (True, False):
        folders = Folders(*(tmp_path / str(lr_find) / name for name in ("a", "b", "c")))
        histories.append(fit(data, recipe(training={"lr_find": lr_find, "epochs": 1}), folders, cores=1)["history"])
        assert (folders.logfiles / "lr_find.json").exists() == lr_find
    assert histories[0] == histories[1]
    logfiles = tmp_path / "True" / "c"
    assert json.loads((logfiles / "lr_find.json").read_text())["suggestion"] > 0
    with Image.open(logfiles / "lr_find.png") as picture:
        assert picture.width > 300
    assert "training.learning_rate 1.00e-03" in (logfiles / "training.log").read_text()
