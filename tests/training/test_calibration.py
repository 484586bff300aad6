from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.models.postprocess import Logits, Temperatures
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.training.calibration import (
    LogitSample,
    calibrate,
    calibration_error,
    fit_temperature,
    sample_logits,
)
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.predictions import Predictions, join_logits
from xview2_siamese_unet.training.trainer import Folders, fit


def sample(temperature: float, classes: int = 4, n: int = 20_000) -> LogitSample:
    """Return logits that are `temperature` times too large for their accuracy."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (n, classes)).astype(np.float32)
    chances = softmax(logits, axis=1).cumsum(axis=1)
    truth = (random.random((n, 1)) > chances).sum(axis=1).clip(max=classes - 1)
    return LogitSample(logits * temperature, truth)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_of_scaled_logits_is_recovered(temperature: float, classes: int) -> None:
    miscalibrated = sample(temperature, classes)
    found = fit_temperature(miscalibrated)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(miscalibrated, found) <= calibration_error(miscalibrated)
    assert calibration_error(miscalibrated, temperature) < 0.02


def test_the_calibration_error_follows_its_definition() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.35, 0.65]], np.float32))
    found = calibration_error(LogitSample(logits, np.array([0, 1, 0, 1])))
    # One bin with confidence 0.9 and accuracy 0.5; one with 0.6; 0.65 lies in that bin too, both right.
    assert found == pytest.approx((2 * abs(0.9 - 0.5) + 2 * abs(0.625 - 1.0)) / 4, abs=1e-6)


def test_without_pixels_the_temperature_is_one() -> None:
    none = LogitSample(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    temperatures, errors = calibrate(sample(2.0, 2), none)
    assert temperatures.damage == 1.0
    assert errors["damage_ece_after"] == 0.0


@pytest.mark.parametrize("right", [0.99, 0.5])
def test_a_temperature_that_increases_the_calibration_error_is_not_used(right: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (500, 2)).astype(np.float32)
    truth = np.where(random.random(500) < right, logits.argmax(axis=1), 1 - logits.argmax(axis=1))
    found = LogitSample(logits, truth)
    assert calibration_error(found, fit_temperature(found)) <= calibration_error(found)


class Echo(nn.Module):
    """Returns the code of each pixel as its logits."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        code = post[:, :1]
        return Logits(code.expand(-1, 2, -1, -1), code.expand(-1, 6, -1, -1))


def scenes() -> Tensor:
    random = np.random.default_rng(0)
    pixels = np.zeros((2, 16, 16, 8), np.uint8)
    pixels[..., 7] = random.choice(6, (2, 16, 16))
    pixels[..., 3], pixels[..., 6] = pixels[..., 7], pixels[..., 7] > 0
    return torch.from_numpy(pixels)


@pytest.mark.parametrize(
    ("unclassified", "known"), [("ignore", {1, 2, 3, 4}), ("no_damage", {1, 2, 3, 4, 5}), ("class", {1, 2, 3, 4, 5})]
)
def test_a_sample_holds_pixels_of_known_classes(unclassified: str, known: set[int]) -> None:
    predict = Predictor(Echo(), nn.Identity())

    def predicted(batch: int) -> Predictions:
        return Predictions(lambda *images: join_logits(predict(*images)), lambda: scenes().split(batch), None)

    building, damage = sample_logits(predicted(1), unclassified, 10_000)  # type: ignore[arg-type]
    codes, truth = damage.logits[:, 0].astype(int), damage.truth + 1
    assert set(codes.tolist()) == known
    expected = np.where(codes == Damage.UNCLASSIFIED, 1, codes) if unclassified == "no_damage" else codes
    assert np.array_equal(expected, truth)
    assert len(building.truth) == 2 * 16 * 16
    assert np.array_equal(building.truth, building.logits[:, 0] > 0)
    few = sample_logits(predicted(2), unclassified, 7)  # type: ignore[arg-type]
    assert [len(each.truth) for each in few] == [14, 14]


@pytest.mark.parametrize("enabled", [True, False])
def test_calibrate_sets_the_temperatures_of_the_checkpoint(
    data: TrainingData, folders: Folders, recipe: Callable[..., Recipe], enabled: bool
) -> None:
    made = fit(data, recipe(prediction={"calibrate": enabled}), folders, cores=1)
    assert (Temperatures(**made["temperatures"]) != Temperatures()) == enabled
    assert bool(made["calibration"]) == enabled
    for head in ("building", "damage") if enabled else ():
        assert made["calibration"][f"{head}_ece_after"] <= made["calibration"][f"{head}_ece_before"]
