"""Every key that reaches training changes what training does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import draw_scene, write_store

from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.training.fit import Folders, TrainingData, fingerprint, fit
from xview2_siamese_unet.training.pairs import training_loader

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
    ],
    ids=str,
)
def test_a_setting_changes_what_is_learnt(train: Train, plain: Run, changes: dict[str, Any]) -> None:
    history, weights = train(**changes)
    assert history != plain[0]
    assert any(not torch.equal(weights[name], plain[1][name]) for name in weights if name.startswith("net."))


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
        loader = training_loader(data.store, data.train, data.sample_weights, recipe(training=training), 1)
        return tuple(next(iter(loader)).shape)

    assert shape(batch_size=2, crop=32) == (2, 32, 32, 8)
    assert shape(batch_size=4, crop=None) == (4, 64, 64, 8)


CHANGES: list[dict[str, Any]] = [
    {"model": {"encoder": {"name": "resnet18"}}},
    {"model": {"encoder": {"weights": {"source": "cache"}}}},
    {"model": {"encoder": {"weights": {"name": "ssl"}}}},
    {"model": {"encoder": {"weights": {"path": "w.pth"}}}},
    {"model": {"decoder_channels": (16, 16, 8, 8, 16)}},
    {"model": {"share_weights": False}},
    {"model": {"fusion": "concat"}},
    {"model": {"normalisation": "imagenet"}},
    {"classes": {"unclassified": "class"}},
    {"training": {"patience": 3}},
    {"training": {"delta": 0.1}},
    {"training": {"monitor": "validation_loss"}},
    {"training": {"epochs": 3}},
    {"hardware": {"device": "auto"}},
    {"hardware": {"precision": "16-mixed"}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_any_setting_that_changes_the_result_changes_the_fingerprint(
    data: TrainingData, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    assert fingerprint(data, recipe(**changes)) != fingerprint(data, recipe())


@pytest.mark.parametrize(
    "changes",
    [
        {"dataloader": {"num_workers_multiplier": 2}},
        {"dataloader": {"pin_memory": False}},
        {"training": {"reuse": False}},
    ],
    ids=str,
)
def test_what_changes_no_result_changes_no_fingerprint(
    data: TrainingData, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    assert fingerprint(data, recipe(**changes)) == fingerprint(data, recipe())


def test_any_datum_changes_the_fingerprint(data: TrainingData, recipe: MakeRecipe, tmp_path: Path) -> None:
    scenes = {name: data.store.pixels[row] for row, name in enumerate(data.store.scenes)}
    others = [
        data._replace(train=data.train[:3]),
        data._replace(validation=["s5", "s4"]),
        data._replace(sample_weights=[1.0, 2.0, 1.0, 3.0]),
        data._replace(class_weights=data.class_weights | {"pre": [1.0, 3.0]}),
        data._replace(channels=data.channels | {"mean": [1.0, 2.0, 3.0]}),
        *(data._replace(store=write_store(tmp_path / name, scenes | {name: draw_scene(99)})) for name in ("s0", "s5")),
    ]
    marks = {fingerprint(each, recipe()) for each in (data, *others)}
    assert len(marks) == 1 + len(others)


def test_another_version_is_another_fingerprint(
    data: TrainingData, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(data, recipe())
    monkeypatch.setattr("xview2_siamese_unet.training.fit.__version__", "0.0.0")
    assert fingerprint(data, recipe()) != before
