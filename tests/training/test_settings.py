"""Every setting of training changes what is learnt, or how."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from tiny_training import new_module
from torch.nn.modules.batchnorm import _BatchNorm

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit
from xview2_siamese_unet.training.loop import make_trainer
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.pairs import training_loader
from xview2_siamese_unet.training.processes import local_rank

MakeRecipe = Callable[..., Recipe]
Run = tuple[list[dict[str, float]], dict[str, torch.Tensor]]
Train = Callable[..., Run]


@pytest.fixture(scope="module")
def train(data: TrainingData, recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train with other settings; returns history and weights of the last epoch."""

    def run(**changes: dict[str, Any]) -> Run:
        folder = tmp_path_factory.mktemp("run")
        own = Folders(folder / "tensorboard_logs", folder / "checkpoints", folder / "logfiles")
        history = fit(data, recipe(**changes), own, cores=1)["history"]
        return history, torch.load(own.checkpoints / "epochs" / "last.ckpt", weights_only=True)["state_dict"]

    return run


@pytest.fixture(scope="module")
def plain(train: Train) -> Run:
    return train()


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"learning_rate": 2e-3}},
        {"training": {"weight_decay": 0.5}},
        {"training": {"batch_size": 4}},
        {"training": {"scheduler": {"T_0": 1}}},
        {"training": {"scheduler": {"T_0": 1, "T_mult": 3}}},
        {"training": {"scheduler": {"eta_min": 9e-4}}},
        {"training": {"seed": 3}},
        {"training": {"crop": 64}},
        {"training": {"crops_per_scene": 2}},
        {"training": {"gradient_clip": 0.01}},
        {"training": {"gradient_clip": None}},
        {"training": {"sampler": "uniform"}},
        {"training": {"augmentation": {"flips": False}}},
        {"training": {"augmentation": {"brightness": 0.5}}},
        {"training": {"augmentation": {"contrast": 0.5}}},
        {"loss_weights": {"pre": 3.0}},
        {"loss_weights": {"post": 3.0}},
        {"focal_loss": {"gamma": 0.0}},
        {"focal_loss": {"alpha": "none"}},
        {"classes": {"unclassified": "no_damage"}},
        {"hardware": {"precision": "bf16-mixed"}},
        {"model": {"architecture": "seed"}},
        {"training": {"losses": {"pre": {"focal": 0.0, "cross_entropy": 1.0}}}},
        {"training": {"losses": {"pre": {"dice": 1.0}}}},
        {"training": {"losses": {"pre": {"lovasz": 1.0}}}},
        {"training": {"losses": {"post": {"focal": 0.0, "cross_entropy": 1.0}}}},
        {"training": {"losses": {"post": {"dice": 1.0}}}},
        {"training": {"losses": {"post": {"lovasz": 1.0}}}},
        {"training": {"losses": {"post": {"ordinal": 1.0}}}},
        {"training": {"warmup_epochs": 1.0}},
        {"training": {"accumulate": 2}},
        {"training": {"ema_decay": 0.5}},
        {"training": {"batch_norm": "freeze"}},
        {"training": {"damage_dilation": 5}},
        {"training": {"crop_candidates": 4}},
        {"training": {"augmentation": {"rotate": 20.0}}},
        {"training": {"augmentation": {"scale": 0.3}}},
        {"training": {"augmentation": {"shift": 0.3}}},
        {"training": {"augmentation": {"post_shift": 8.0}}},
    ],
    ids=str,
)
def test_a_setting_changes_what_is_learnt(train: Train, plain: Run, changes: dict[str, Any]) -> None:
    history, weights = train(**changes)
    assert history != plain[0]
    known = [name for name in weights if name.startswith("net.") and name in plain[1]]
    assert any(not torch.equal(weights[name], plain[1][name]) for name in known)


def test_t_mult_makes_the_second_period_longer(train: Train) -> None:
    rates = {
        factor: [
            row["learning_rate"]
            for row in train(training={"epochs": 4, "scheduler": {"T_0": 1, "T_mult": factor, "eta_min": 0.0}})[0]
        ]
        for factor in (1, 3)
    }
    assert rates[1] == pytest.approx([5e-4] * 4)  # two steps a period: the peak, then half of it
    assert rates[3][1] > rates[3][2] > rates[3][3]


def test_eta_min_is_the_floor_of_the_rate(train: Train) -> None:
    changes = {"epochs": 3, "crops_per_scene": 8, "scheduler": {"T_0": 3, "eta_min": 4e-4}}
    assert train(training=changes)[0][-1]["learning_rate"] == pytest.approx(4e-4, rel=0.01)


@pytest.mark.parametrize("epochs", [1, 3])
def test_epochs_are_as_many_as_asked_for(train: Train, epochs: int) -> None:
    assert len(train(training={"epochs": epochs})[0]) == epochs


def test_a_head_without_weight_in_the_loss_learns_nothing(train: Train) -> None:
    changes = {"epochs": 1, "weight_decay": 0.0}
    heads = {
        phase: train(training=changes, loss_weights={phase: 0.0})[1][f"net.{head}"]
        for phase, head in (("pre", "building_head.weight"), ("post", "damage_head.3.weight"))
    }
    learnt = train(training=changes)[1]
    torch.manual_seed(0)
    untouched = {
        phase: train(training=changes | {"learning_rate": 1e-12}, loss_weights={phase: 0.0})[1] for phase in heads
    }
    assert torch.allclose(heads["pre"], untouched["pre"]["net.building_head.weight"], atol=1e-9)
    assert torch.allclose(heads["post"], untouched["post"]["net.damage_head.3.weight"], atol=1e-9)
    assert not torch.allclose(learnt["net.building_head.weight"], heads["pre"], atol=1e-6)


def test_batch_and_crop_shape_what_is_loaded(data: TrainingData, recipe: MakeRecipe) -> None:
    def shape(**training: object) -> tuple[int, ...]:
        loader = training_loader(data, recipe(training=training), 1)
        return tuple(next(iter(loader)).shape)

    assert shape(batch_size=2, crop=32) == (2, 32, 32, 8)
    assert shape(batch_size=4, crop=None) == (4, 64, 64, 8)


def test_channels_lie_as_asked_for(data: TrainingData, recipe: MakeRecipe, tmp_path: Path) -> None:
    def last(folder: str, hardware: dict[str, object]) -> torch.Tensor:
        own = Folders(*(tmp_path / folder / name for name in ("a", "b", "c")))
        state = fit(data, recipe(hardware=hardware, training={"epochs": 1}), own, cores=1)["state"]
        return state["damage_head.0.weight"]

    assert last("yes", {}).is_contiguous(memory_format=torch.channels_last)
    assert not last("no", {"channels_last": False}).is_contiguous(memory_format=torch.channels_last)


def test_where_the_scenes_lie_changes_nothing_that_is_learnt(train: Train, plain: Run) -> None:
    history, weights = train(dataloader={"location": "device"})
    assert history == plain[0]
    assert all(torch.equal(weights[name], value) for name, value in plain[1].items())


def test_a_profile_says_where_the_time_goes_and_changes_nothing_else(
    data: TrainingData, recipe: MakeRecipe, folders: Folders, plain: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    history = fit(data, recipe(hardware={"profile": True}), folders, cores=1)["history"]
    shares = [f"share_{part}" for part in ("data", "forward", "backward", "optimiser")]
    for row, without in zip(history, plain[0], strict=True):
        assert sum(row.pop(name) for name in shares) == pytest.approx(1)
        assert row.pop("pairs_per_second") > 0
        assert row == without
    assert caplog.text.count("the bottleneck is") == 2


@pytest.mark.parametrize("asked", [True, False])
def test_the_net_is_compiled_where_asked_for(train: Train, monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_: compiled.append(1))
    train(hardware={"compile": asked}, training={"epochs": 1})
    assert bool(compiled) == asked


@pytest.mark.parametrize("asked", [True, False])
def test_operations_are_deterministic_where_asked_for(
    train: Train, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    seen = []
    step = DamageModule.training_step

    def watch(self: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return step(self, pixels)

    monkeypatch.setattr(DamageModule, "training_step", watch)
    train(hardware={"deterministic": asked}, training={"epochs": 1})
    torch.use_deterministic_algorithms(False)
    assert set(seen) == {asked}


@pytest.fixture
def two_processes(launch: Callable[[int, int], None]) -> None:
    """The environment of the first of two processes that torchrun launched."""
    launch(0, 2)


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("name", ["tu-efficientnet_lite0", "tu-test_resnet"])
def test_synchronised_batch_norms_keep_their_activations(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("lightning.Trainer", dict)  # the machine may have no GPU
    settings = recipe(model={"encoder": {"name": name}}, training={"batch_norm": "synchronise"})
    module = new_module(data, settings)
    images = 255 * torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(3):
            module.net(*images)  # statistics that differ from layer to layer
        before = module.eval().net(*images)
    arguments = make_trainer(module, "cuda", tmp_path, tmp_path)
    with torch.no_grad():
        after = module.eval().net(*images)
    norms = [layer for layer in module.net.modules() if isinstance(layer, _BatchNorm)]
    assert norms
    assert all(isinstance(layer, torch.nn.SyncBatchNorm) for layer in norms)
    assert not arguments.get("sync_batchnorm")  # Lightning would convert once more
    assert all(torch.equal(*pair) for pair in zip(after, before, strict=True))
    restored = build_net(settings.model, settings.classes.damage_classes)
    restored.load_state_dict(module.net.state_dict())
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(restored.eval()(*images), before, strict=True))


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("kind", ["learn", "freeze"])
def test_batch_norms_are_synchronised_only_where_asked_for(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("lightning.Trainer", dict)
    module = new_module(data, recipe(training={"batch_norm": kind}))
    make_trainer(module, "cuda", tmp_path, tmp_path)
    assert not any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in module.net.modules())


@pytest.mark.usefixtures("two_processes")
def test_batch_norms_of_processors_cannot_be_synchronised(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path
) -> None:
    module = new_module(data, recipe(training={"batch_norm": "synchronise"}))
    with pytest.raises(ConfigError, match=r"training\.batch_norm.* found synchronise on processors"):
        make_trainer(module, "cpu", tmp_path, tmp_path)


def test_batches_of_one_step_are_augmented_each_for_itself(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    step = DamageModule.training_step

    def watch(self: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        seeds.append(torch.initial_seed())
        return step(self, pixels)

    monkeypatch.setattr(DamageModule, "training_step", watch)
    train(training={"epochs": 2, "accumulate": 2})
    assert len(seeds) == 4
    assert len(set(seeds)) == 4


def test_frozen_batch_norms_keep_their_statistics(train: Train) -> None:
    for kind, kept in (("freeze", True), ("learn", False)):
        weights = train(training={"epochs": 1, "batch_norm": kind})[1]
        means = [value for name, value in weights.items() if name.endswith("running_mean")]
        assert all(not mean.any() for mean in means) == kept


def test_averaged_weights_are_validated_and_saved(
    data: TrainingData, recipe: MakeRecipe, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = []
    start = DamageModule.on_validation_epoch_start

    def watch(self: DamageModule) -> None:
        validated.append({name: value.clone() for name, value in self.net.state_dict().items()})
        start(self)

    monkeypatch.setattr(DamageModule, "on_validation_epoch_start", watch)
    state = fit(data, recipe(training={"epochs": 1, "ema_decay": 0.9}), folders, cores=1)["state"]
    found = torch.load(folders.checkpoints / "epochs" / "last.ckpt", weights_only=True)
    name = "building_head.weight"
    assert torch.equal(state[name], validated[0][name])
    assert torch.equal(state[name], found["state_dict"][f"net.{name}"])
    assert not torch.equal(state[name], found["current_model_state"][f"net.{name}"])


@pytest.mark.parametrize(
    "variables",
    [{"RANK": "1", "WORLD_SIZE": "2"}, {"LOCAL_RANK": "1"}, {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}],
    ids=lambda variables: next(iter(variables)),
)
def test_a_rank_that_torchrun_did_not_set_is_no_rank(
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # Lightning takes it from these when it is imported
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert len(list(folders.tensorboard_logs.rglob("events.*"))) == 1
    assert (folders.checkpoints / "epochs" / "best.ckpt").is_file()
    assert local_rank() == 0
