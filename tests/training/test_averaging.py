"""Averaged weights and batch norm statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_training import last, new_module, same
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.averaging import MovingAverage
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.trainer import Folders, fit

MakeRecipe = Callable[..., Recipe]
State = dict[str, Tensor]
DECAY = 0.8
STATISTICS = ("running_mean", "running_var")


def copied(module: DamageModule) -> State:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Devices(TorchDispatchMode):
    """Records the devices of the tensors of each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.combinations: set[frozenset[str]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
        self.combinations.add(frozenset(tensor.device.type for tensor in tensors))
        return result


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """The state after each batch, without averaging."""
    states: list[State] = []
    end = DamageModule.on_train_batch_end

    def watch(self: DamageModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        states.append(copied(self))
        end(self, outputs, batch, batch_idx)

    monkeypatch.setattr(DamageModule, "on_train_batch_end", watch)
    return states


def averaged(steps: list[State]) -> State:
    """Return the exponential moving average of the states."""
    mean = steps[0]
    for step in steps[1:]:
        mean = {name: DECAY * mean[name] + (1 - DECAY) * value for name, value in step.items()}
    return mean


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_and_statistics_of_batch_norms_are_averaged_over_the_steps(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, steps: list[State], accumulate: int
) -> None:
    settings = recipe(training={"epochs": 2, "crops_per_scene": 2, "ema_decay": DECAY, "accumulate": accumulate})
    fit(data, settings, folders, cores=1)
    found, wanted = last(folders)["state_dict"], averaged(steps[accumulate - 1 :: accumulate])
    assert len(steps) == 8
    floats = [name for name, value in steps[0].items() if value.is_floating_point()]
    assert any(name.endswith(STATISTICS) for name in floats)
    for name in floats:
        torch.testing.assert_close(found[name], wanted[name], msg=lambda text, name=name: f"{name}: {text}")
    moved = [name for name in floats if name.endswith(STATISTICS) and not torch.equal(found[name], steps[-1][name])]
    assert moved


def test_averaged_statistics_are_validated_and_saved(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[State] = []
    start = DamageModule.on_validation_epoch_start

    def watch(self: DamageModule) -> None:
        start(self)
        validated.append(copied(self))

    monkeypatch.setattr(DamageModule, "on_validation_epoch_start", watch)
    made = fit(data, recipe(training={"epochs": 2, "ema_decay": DECAY}), folders, cores=1)
    assert same(validated[-1], last(folders)["state_dict"])
    best = validated[made["epoch"]]
    assert same(dict(made["state"]), {name: best[f"net.{name}"] for name in made["state"]})


@pytest.mark.slow
def test_averaging_does_not_change_the_training(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, steps: list[State]
) -> None:
    states = []
    for decay in (None, DECAY):
        steps.clear()
        own = Folders(*(tmp_path / str(decay) / name for name in ("a", "b", "c")))
        fit(data, recipe(training={"epochs": 3, "ema_decay": decay}), own, cores=1)
        states.append([*steps])
    assert len(states[0]) == 6
    assert all(same(without, within) for without, within in zip(*states, strict=True))


def test_the_average_of_weights_is_on_the_device_and_its_counter_on_the_host(
    data: TrainingData, recipe: MakeRecipe
) -> None:
    module = new_module(data, recipe()).to("meta")
    average = MovingAverage(0.9, "meta")
    average.setup(SimpleNamespace(), module, "fit")
    assert {weight.device.type for weight in average._average_model.module.parameters()} == {"meta"}
    assert average._average_model.n_averaged.device.type == "cpu"
    with Devices() as devices:  # a copy between devices would block each step
        for step in (1, 2, 3):
            average.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, step)
    assert average._average_model.n_averaged == 3
    assert devices.combinations == {frozenset({"cpu"}), frozenset({"meta"})}
