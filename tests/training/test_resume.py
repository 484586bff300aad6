"""Killed runs resume with the same result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import last, same, scripted

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.trainer import Folders, fit

MakeRecipe = Callable[..., Recipe]


class Killed(BaseException):
    pass


def stopped_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the run in the first step after `epochs` epochs."""
    step = DamageModule.training_step

    def until(self: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        if self.current_epoch == epochs:
            raise Killed
        return step(self, pixels)

    monkeypatch.setattr(DamageModule, "training_step", until)


@pytest.mark.slow
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_run_resumed_after_two_of_four_epochs_equals_an_uninterrupted_one(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, ema: float | None
) -> None:
    changes = {"epochs": 4, "crops_per_scene": 2, "scheduler": {"T_0": 3}, "ema_decay": ema, "warmup_epochs": 1.5}
    settings = recipe(training=changes)
    whole, halves = (Folders(*(tmp_path / run / name for name in ("a", "b", "c"))) for run in ("whole", "halves"))
    at_once = fit(data, settings, whole, cores=1)
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(Killed):
            fit(data, settings, halves, cores=1)
    assert last(halves)["epoch"] == 1
    resumed = fit(data, settings, halves, cores=1)
    assert same(last(whole)["state_dict"], last(halves)["state_dict"])
    assert same(at_once["state"], resumed["state"])
    assert at_once["history"] == resumed["history"]


def test_early_stopping_resumes_its_count(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(training={"epochs": 6, "patience": 3, "batch_size": 4})
    with monkeypatch.context() as patch:
        scripted(patch, [0.5, 0.4, 0.4])
        stopped_after(3, patch)
        with pytest.raises(Killed):
            fit(data, settings, folders, cores=1)
    scripted(monkeypatch, [0.4, 0.4, 0.4])
    assert len(fit(data, settings, folders, cores=1)["history"]) == 4


def test_a_run_resumes_in_a_folder_that_was_moved(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (Folders(*(tmp_path / folder / name for name in ("a", "b", "c"))) for folder in ("here", "there"))
    settings = recipe(training={"epochs": 4, "patience": 9, "batch_size": 4})
    with monkeypatch.context() as patch:
        scripted(patch, [0.3, 0.9])
        stopped_after(2, patch)
        with pytest.raises(Killed):
            fit(data, settings, before, cores=1)
    best = torch.load(before.checkpoints / "epochs" / "best.ckpt", weights_only=True)["state_dict"]
    (tmp_path / "here").rename(tmp_path / "there")
    scripted(monkeypatch, [0.5, 0.4])
    made = fit(data, settings, after, cores=1)
    assert made["epoch"] == 1
    assert torch.equal(made["state"]["building_head.weight"], best["net.building_head.weight"])


def test_a_run_that_stopped_early_is_not_resumed(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 6, "patience": 2, "batch_size": 4}
    with monkeypatch.context() as patch:
        scripted(patch, [0.5, 0.4, 0.4])
        first = fit(data, recipe(training=settings), folders, cores=1)
    assert len(first["history"]) == 3
    again = fit(data, recipe(training=settings), folders, cores=1)
    assert again["history"] == first["history"]


@pytest.mark.slow
def test_a_run_killed_while_it_writes_an_epoch_resumes_from_the_one_before(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halves = (Folders(*(tmp_path / run / name for name in ("a", "b", "c"))) for run in ("whole", "halves"))
    settings, written = recipe(training={"epochs": 3}), []
    at_once = fit(data, settings, whole, cores=1)
    save = torch.save

    def killed_in_the_second_epoch(content: dict[str, Any], file: Path) -> None:
        written.append((content["epoch"], file))
        save(content, file)
        if content["epoch"] == 1 and file.name == "last.ckpt":
            file.write_bytes(file.read_bytes()[:1000])
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed_in_the_second_epoch)
        with pytest.raises(Killed):
            fit(data, settings, halves, cores=1)
    assert [epoch for epoch, file in written if file.name == "last.ckpt"] == [0, 1]
    assert all(
        file.parent.parent == halves.checkpoints / "epochs" for _, file in written
    )  # never written directly to its final path
    assert last(halves)["epoch"] == 0
    resumed = fit(data, settings, halves, cores=1)
    assert resumed["history"] == at_once["history"]
    assert same(at_once["state"], resumed["state"])
