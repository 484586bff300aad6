"""Two stages: localisation alone, then both heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.trainer import Folders, fit

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize("architecture", ["siamese_unet", "seed"])
def test_the_second_stage_starts_from_the_weights_of_the_first(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    starts: list[dict[str, torch.Tensor]] = []
    begin = DamageModule.on_validation_epoch_start

    def watch(self: DamageModule) -> None:
        starts.append({name: value.clone() for name, value in self.net.state_dict().items()})
        begin(self)

    monkeypatch.setattr(DamageModule, "on_validation_epoch_start", watch)
    still: dict[str, object] = {"epochs": 1, "localization_epochs": 2, "learning_rate": 1e-12, "weight_decay": 0.0}
    still["scheduler"] = {"eta_min": 0.0}
    checkpoint = fit(data, recipe(model={"architecture": architecture}, training=still), folders, cores=1)
    assert len(checkpoint["history"]) == 1
    assert len(starts) == 3
    first = torch.load(folders.checkpoints / "localization" / "epochs" / "best.ckpt", weights_only=True)
    weights = [name for name in starts[0] if name.endswith("weight")]
    assert all(torch.allclose(starts[2][name], first["state_dict"][f"net.{name}"], atol=1e-9) for name in weights)
    assert list((folders.tensorboard_logs / "localization").rglob("events.*"))


def test_the_first_stage_does_not_train_the_damage_head(data: TrainingData, tmp_path: Path, recipe: MakeRecipe) -> None:
    folders = Folders(*(tmp_path / name for name in ("a", "b", "c")))
    fit(data, recipe(training={"epochs": 1, "localization_epochs": 2}), folders, cores=1)
    found = torch.load(folders.checkpoints / "localization" / "epochs" / "last.ckpt", weights_only=True)
    assert [row["epoch"] for row in found["history"]] == [0, 1]
    moments = found["optimizer_states"][0]["state"]
    # Building head and U-Net have moments; the damage head and its norm do not.
    parameters = [name for name in found["state_dict"] if not name.endswith(("mean", "var", "tracked", "std"))]
    assert 0 < len(moments) < len(parameters)


def test_a_finished_first_stage_is_not_trained_again(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    step = DamageModule.training_step

    def watch(self: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        steps.append(self.recipe.loss_weights.post)
        return step(self, pixels)

    monkeypatch.setattr(DamageModule, "training_step", watch)
    first = fit(data, recipe(training={"epochs": 1, "localization_epochs": 1}), folders, cores=1)
    assert steps == [0.0, 0.0, 1.0, 1.0]
    again = fit(data, recipe(training={"epochs": 1, "localization_epochs": 1}), folders, cores=1)
    assert len(steps) == 4
    assert again["history"] == first["history"]


def test_the_first_stage_keeps_its_best_epoch_of_localisation(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(0.1, 0.9), (0.9, 0.1), (0.5, 0.5)]  # score and localisation F1, epoch by epoch

    def scores(*_: object) -> dict[str, float]:
        score, localization = found.pop(0)
        return {"score": score, "localization_f1": localization, "damage_f1": 0.2}

    monkeypatch.setattr("xview2_siamese_unet.training.module.official_score", scores)
    fit(data, recipe(training={"epochs": 1, "localization_epochs": 2}), folders, cores=1)
    best = torch.load(folders.checkpoints / "localization" / "epochs" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 0
