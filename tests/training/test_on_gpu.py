"""Tests that need a GPU; `scripts/check_gpu.sh` runs them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import draw_scene, last

from xview2_siamese_unet.config.modelling import HardwareParams, Recipe
from xview2_siamese_unet.models.predictor import predictor_of
from xview2_siamese_unet.training.crops import Crops, DeviceCrops, load_to_device
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.samplers import CropSampler
from xview2_siamese_unet.training.trainer import Folders, fit

MakeRecipe = Callable[..., Recipe]
GPU = {"device": "gpu", "precision": "32-true"}
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def full_precision_again() -> Iterator[None]:
    """Turn TF32 off again for the tests on the CPU that follow."""
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("location", ["device", "host"])
def test_steps_do_not_wait_for_the_gpu(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    messages: list[str] = []
    start, end = DamageModule.on_train_batch_start, DamageModule.on_train_batch_end

    def begin(self: DamageModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        start(self, batch, batch_idx)
        torch.cuda.set_sync_debug_mode("warn" if batch_idx in range(2, 9) else "default")  # the tenth is logged

    def finish(self: DamageModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        torch.cuda.set_sync_debug_mode("default")
        end(self, outputs, batch, batch_idx)

    monkeypatch.setattr(DamageModule, "on_train_batch_start", begin)
    monkeypatch.setattr(DamageModule, "on_train_batch_end", finish)
    training = {"epochs": 1, "crops_per_scene": 8, "ema_decay": 0.9, "damage_dilation": 3, "crop_candidates": 2}
    settings = recipe(training=training, hardware=GPU, dataloader={"location": location})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: messages.append(str(message)))
        fit(data, settings, folders, cores=1)
    # Without torch's notice that this mode is a prototype, which also contains the word.
    assert [message for message in messages if "called a synchronizing" in message] == []


def test_the_moving_average_is_that_of_the_steps(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[dict[str, torch.Tensor]] = []
    end = DamageModule.on_train_batch_end

    def watch(self: DamageModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        steps.append({name: value.detach().cpu().clone() for name, value in self.state_dict().items()})
        end(self, outputs, batch, batch_idx)

    monkeypatch.setattr(DamageModule, "on_train_batch_end", watch)
    fit(data, recipe(training={"crops_per_scene": 2, "ema_decay": 0.8}, hardware=GPU), folders, cores=1)
    mean = steps[0]
    for step in steps[1:]:
        mean = {name: 0.8 * mean[name] + 0.2 * value for name, value in step.items()}
    found = last(folders)["state_dict"]
    for name, value in found.items():
        if value.is_floating_point():  # not the counters of the batch norms
            torch.testing.assert_close(value.cpu(), mean[name])


def test_a_checkpoint_is_as_large_as_on_the_cpu(data: TrainingData, tmp_path: Path, recipe: MakeRecipe) -> None:
    sizes = []
    for device in ("cpu", "gpu"):
        folders = Folders(*(tmp_path / device / name for name in ("a", "b", "c")))
        made = fit(data, recipe(training={"epochs": 1}, hardware={"device": device}), folders, cores=1)
        file = io.BytesIO()
        torch.save(dict(made["state"]), file)
        assert {value.device.type for value in made["state"].values()} == {"cpu"}
        sizes.append(file.tell())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_cpu_and_gpu_predict_the_same(data: TrainingData, folders: Folders, recipe: MakeRecipe) -> None:
    # Without temperatures, because small ones would enlarge the differences of TF32.
    checkpoint = fit(data, recipe(hardware=GPU, prediction={"calibrate": False}), folders, cores=1)
    pixels = torch.from_numpy(np.stack([draw_scene(seed) for seed in range(4)])[..., :6]).permute(0, 3, 1, 2)
    cpu, gpu = (
        predictor_of(checkpoint, HardwareParams(device=device, precision="32-true"))(pixels[:, :3], pixels[:, 3:])
        for device in ("cpu", "gpu")
    )
    for on_cpu, on_gpu in zip(cpu, gpu, strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=0.02, rtol=0.02)  # convolutions in TF32


def test_crops_on_the_gpu_equal_those_of_the_store(data: TrainingData, recipe: MakeRecipe) -> None:
    settings = recipe(training={"crops_per_scene": 4}, dataloader={"location": "device"})
    scenes = load_to_device(data.store, data.train, settings.dataloader, "cuda")
    assert scenes is not None
    assert scenes.pixels.device.type == "cuda"
    indices = [*CropSampler(data.sample_weights, settings.training)]
    for candidates in (1, 4):
        host = Crops(data.store, data.train, 32, candidates)
        found = DeviceCrops(scenes, data.train, 32, candidates).__getitems__(indices)
        assert torch.equal(found.cpu(), torch.stack([host[index] for index in indices]))
