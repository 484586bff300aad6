"""Scoring and assessment give the same predictions, with the settings of the checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from small_store import noisy_scenes, write_store
from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams
from xview2_siamese_unet.inference.prediction import WindowPredictor, encode, predict_scenes
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.postprocess import Thresholds
from xview2_siamese_unet.raster.store import Store

MODEL = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": [16, 16, 8, 8, 8]}
CPU = HardwareParams(device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    scenes = noisy_scenes(["a", "b"])
    scenes["a"][:20, :, :6] = 0  # no data
    return write_store(tmp_path_factory.mktemp("store"), scenes)


def checkpoint(**changes: object) -> dict[str, Any]:
    torch.manual_seed(0)
    net = build_net(ModelParams.model_validate(MODEL), 5)
    with torch.no_grad():
        net.building_head.weight *= 30  # an untrained net predicts nearly uniform probabilities
        net.damage_head[-1].weight *= 30
    channels = {"mean": [100.0] * 3, "std": [50.0] * 3}
    return {"state": net.state_dict(), "model": MODEL, "classes": {}, "channels": channels, **changes}


def predictions(store: Store, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    scenes = [*predict_scenes(checkpoint(**changes), store, ["a", "b"], CPU, batch_size=1)]
    return np.stack([each.codes for each in scenes]), np.stack([each.probabilities for each in scenes])


@pytest.mark.parametrize("flips", [False, True])
def test_scoring_and_assessing_give_the_same_bytes(store: Store, flips: bool) -> None:
    settings: dict[str, Any] = {
        "temperatures": {"building": 2.0, "damage": 0.5},
        "prediction": {"tta": "flips" if flips else "none"},
    }
    scenes, valid = store.pixels, np.ones((64, 64), bool)
    assessed = WindowPredictor(checkpoint(**settings), CPU)(np.array(scenes[..., :3]), np.array(scenes[..., 3:6]))
    codes, shares = predictions(store, **settings)
    for scene, one in enumerate(assessed):
        block = encode(one, valid, Thresholds())
        np.testing.assert_array_equal(block[-1], codes[scene])
        np.testing.assert_array_equal(block[:-1], shares[scene])


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_test_time_augmentation_is_that_of_the_checkpoint(store: Store, tta: str) -> None:
    plain, augmented = predictions(store)[1], predictions(store, prediction={"tta": tta})[1]
    assert not np.array_equal(plain, augmented)
    np.testing.assert_allclose(augmented.sum(axis=1, dtype=int), 254, atol=2)


def test_a_vote_gives_each_building_one_class_by_the_weights_of_the_checkpoint(store: Store) -> None:
    plain = predictions(store)[0]
    assert len(np.unique(plain)) > 2
    # Pixels that are black in either image keep their own class.
    valid = store.pixels[..., :3].any(axis=3) & store.pixels[..., 3:6].any(axis=3)
    for favoured in range(4):
        weights = [1e-6] * 4
        weights[favoured] = 1.0
        voted = predictions(store, prediction={"vote": "connected", "vote_weights": weights})[0]
        assert np.array_equal(voted, np.where((plain > 0) & valid, favoured + 1, plain))
    voted = predictions(store, prediction={"vote": "connected"})[0]
    for scene in np.where(valid, voted, 0):
        numbers, count = ndimage.label(scene > 0)
        assert all(len(np.unique(scene[numbers == number])) == 1 for number in range(1, count + 1))


def test_temperatures_change_probabilities_but_no_class(store: Store) -> None:
    plain, cooled = predictions(store), predictions(store, temperatures={"building": 3.0, "damage": 3.0})
    assert np.array_equal(plain[0], cooled[0])
    assert not np.array_equal(plain[1], cooled[1])
