"""Effects of parameters on a training step, and batch norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from tiny_training import draw_scene, new_module
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from run_command import FORKS
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.module import DamageModule

MakeRecipe = Callable[..., Recipe]
LossOf = Callable[..., Tensor]


@pytest.fixture
def loss_of(data: TrainingData, recipe: MakeRecipe) -> LossOf:
    """Compute the loss of one batch with other settings and the same initial weights."""
    pixels = torch.stack([torch.from_numpy(draw_scene(seed)) for seed in (3, 4)])

    def loss(weights: torch.nn.Module | None = None, **changes: dict[str, Any]) -> Tensor:
        torch.manual_seed(0)
        module = new_module(data, recipe(**changes))
        module.net = module.net if weights is None else weights
        torch.manual_seed(1)
        return module.training_loss(pixels, torch.clone)

    return loss


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"augmentation": {"flips": False}}},
        {"training": {"augmentation": {"brightness": 0.5}}},
        {"training": {"augmentation": {"contrast": 0.5}}},
        {"training": {"augmentation": {"rotate": 20.0}}},
        {"training": {"augmentation": {"scale": 0.3}}},
        {"training": {"augmentation": {"shift": 0.3}}},
        {"training": {"augmentation": {"post_shift": 8.0}}},
        {"training": {"batch_norm": "freeze"}},
        {"training": {"damage_dilation": 5}},
        {"training": {"losses": {"pre": {"focal": 0.0, "cross_entropy": 1.0}}}},
        {"training": {"losses": {"pre": {"dice": 1.0}}}},
        {"training": {"losses": {"pre": {"lovasz": 1.0}}}},
        {"training": {"losses": {"post": {"focal": 0.0, "cross_entropy": 1.0}}}},
        {"training": {"losses": {"post": {"dice": 1.0}}}},
        {"training": {"losses": {"post": {"lovasz": 1.0}}}},
        {"training": {"losses": {"post": {"ordinal": 1.0}}}},
        {"focal_loss": {"gamma": 0.0}},
        {"focal_loss": {"alpha": "none"}},
        {"classes": {"unclassified": "no_damage"}},
        {"model": {"architecture": "seed"}},
    ],
    ids=str,
)
def test_a_setting_changes_the_loss(loss_of: LossOf, changes: dict[str, Any]) -> None:
    assert loss_of() == loss_of()
    assert loss_of(**changes) != loss_of()


def test_weights_of_the_heads_multiply_their_losses(loss_of: LossOf) -> None:
    frozen = {"batch_norm": "freeze"}  # its statistics do not depend on the batch
    both, building = loss_of(training=frozen), loss_of(training=frozen, loss_weights={"post": 0.0})
    weighted = loss_of(training=frozen, loss_weights={"pre": 3.0, "post": 2.0})
    torch.testing.assert_close(weighted, 3 * building + 2 * (both - building))


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_a_head_without_weight_in_the_loss_gets_no_gradient(
    data: TrainingData, recipe: MakeRecipe, loss_of: LossOf, phase: str
) -> None:
    net = new_module(data, recipe()).net
    loss_of(net, loss_weights={phase: 0.0}).backward()
    heads = {"pre": net.building_head.weight.grad, "post": net.damage_head[-1].weight.grad}
    learns = {name: gradient is not None and bool(gradient.any()) for name, gradient in heads.items()}
    assert learns == {"pre": phase == "post", "post": phase == "pre"}


def test_optimiser_and_schedule_follow_the_recipe(
    data: TrainingData, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two steps per epoch.
    monkeypatch.setattr(DamageModule, "trainer", SimpleNamespace(precision="32-true", estimated_stepping_batches=12))
    scheduler = {"T_0": 1, "T_mult": 3, "eta_min": 0.1}
    settings = {"epochs": 6, "learning_rate": 0.5, "weight_decay": 0.25, "warmup_epochs": 1.0, "scheduler": scheduler}
    made: Any = new_module(data, recipe(training=settings)).configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert made["lr_scheduler"]["interval"] == "step"
    assert optimizer.defaults["weight_decay"] == 0.25
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    second = [0.3 + 0.2 * math.cos(math.pi * step / 6) for step in range(6)]
    assert rates == pytest.approx([0.1, 0.3, 0.5, 0.3, *second, 0.5, 0.3 + 0.2 * math.cos(math.pi / 18)])


@pytest.mark.parametrize("kind", ["freeze", "learn"])
def test_only_frozen_batch_norms_stay_in_evaluation_mode(data: TrainingData, recipe: MakeRecipe, kind: str) -> None:
    module = new_module(data, recipe(training={"batch_norm": kind})).train()
    norms = [layer for layer in module.net.modules() if isinstance(layer, _BatchNorm)]
    assert module.net.training
    assert {layer.training for layer in norms} == {kind == "learn"}


def test_divergence_is_an_error_unless_half_precision_skips_the_step(
    data: TrainingData, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = new_module(data, recipe())
    outputs = {"loss": torch.tensor(float("nan"))}
    for precision, stops in (("16-mixed", False), ("bf16-mixed", True)):
        trainer = SimpleNamespace(precision=precision, current_epoch=0)
        monkeypatch.setattr(DamageModule, "trainer", trainer)
        module.on_train_batch_end(outputs, None, 5)
        with pytest.raises(ConfigError, match="diverged") if stops else nullcontext():
            module.on_train_batch_end(outputs, None, 10)


@pytest.mark.slow
def test_statistics_of_batch_norms_are_averaged_over_ranks_in_inference_mode(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path
) -> None:
    # Lightning validates in inference mode, where collectives get inference tensors; gloo stands in for NCCL.
    ranks = (str(tmp_path / "store"), str(tmp_path / "found.pt"))
    torch.multiprocessing.start_processes(_average_buffers, (*ranks, data, recipe()), nprocs=2, start_method=FORKS)
    found = torch.load(ranks[1], weights_only=True)
    assert len(found) > 10
    assert all(bool((buffer == 1.5).all()) for buffer in found)


def _average_buffers(rank: int, address: str, path: str, data: TrainingData, settings: Recipe) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    module = new_module(data, settings)
    buffers = [buffer for buffer in module.net.buffers() if buffer.is_floating_point()]
    for buffer in buffers:
        buffer.fill_(rank + 1)
    strategy = DDPStrategy()
    module.trainer = SimpleNamespace(world_size=2, strategy=strategy)  # type: ignore[assignment]
    with torch.inference_mode():
        module.on_validation_epoch_start()
    for buffer in buffers:
        buffer.add_(0)  # as the next step of training does, outside of inference mode
    if rank == 1:
        torch.save(buffers, path)
    torch.distributed.destroy_process_group()
