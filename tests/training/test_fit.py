"""Training as a whole, on scenes that are learnt in seconds."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import draw_scene, write_store

from xview2_siamese_unet.nets.checkpoint import restore
from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.training import fit as fit_room
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit
from xview2_siamese_unet.training.module import DamageModule

MakeRecipe = Callable[..., Recipe]


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let validation find these scores, epoch by epoch."""

    def found(*_: object) -> dict[str, float]:
        return {"score": scores.pop(0), "localization_f1": 0.1, "damage_f1": 0.2}

    monkeypatch.setattr("xview2_siamese_unet.training.module.official_score", found)


def last(folders: Folders) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folders.checkpoints / "epochs" / "last.ckpt", weights_only=True)
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_best_epoch_is_kept_and_not_the_last(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    keep = DamageModule.on_train_epoch_end

    def watch(self: DamageModule) -> None:
        weights.append({name: value.clone() for name, value in self.net.state_dict().items()})
        keep(self)

    monkeypatch.setattr(DamageModule, "on_train_epoch_end", watch)
    scripted(monkeypatch, [0.1, 0.5, 0.3, 0.5])
    checkpoint = fit(data, recipe(training={"epochs": 4}), folders, cores=1)
    assert checkpoint["epoch"] == 1
    assert checkpoint["scores"]["validation_score"] == pytest.approx(0.5)
    assert same(checkpoint["state"], weights[1])
    assert not same(checkpoint["state"], weights[3])


def test_history_has_one_row_an_epoch(data: TrainingData, folders: Folders, recipe: MakeRecipe) -> None:
    checkpoint = fit(data, recipe(training={"epochs": 3}), folders, cores=1)
    history = checkpoint["history"]
    assert [row["epoch"] for row in history] == [0, 1, 2]
    columns = "epoch learning_rate train_loss validation_loss validation_score validation_localization_f1"
    assert set(history[0]) == {*columns.split(), "validation_damage_f1"}
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert history[2]["train_loss"] < history[0]["train_loss"]


def test_the_learning_rate_of_an_epoch_is_that_of_its_last_step(
    data: TrainingData, folders: Folders, recipe: MakeRecipe
) -> None:
    # Two steps an epoch and a restart after each: the rate after the last step would be the peak again.
    changes = {"epochs": 2, "scheduler": {"T_0": 1, "eta_min": 0.0}}
    checkpoint = fit(data, recipe(training=changes), folders, cores=1)
    assert [row["learning_rate"] for row in checkpoint["history"]] == pytest.approx([5e-4, 5e-4])


@pytest.mark.parametrize(
    ("patience", "delta", "epochs"), [(1, 0.0, 3), (3, 0.0, 5), (1, 0.05, 2), (2, 0.05, 3), (9, 0.0, 6)]
)
def test_training_stops_when_nothing_gets_better(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    patience: int,
    delta: float,
    epochs: int,
) -> None:
    scripted(monkeypatch, [0.30, 0.32, 0.31, 0.31, 0.31, 0.31])
    changes = {"epochs": 6, "patience": patience, "delta": delta, "batch_size": 4}
    assert len(fit(data, recipe(training=changes), folders, cores=1)["history"]) == epochs


def test_the_loss_can_decide_which_epoch_is_best(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.9, 0.1, 0.1])
    checkpoint = fit(data, recipe(training={"epochs": 3, "monitor": "validation_loss"}), folders, cores=1)
    losses = [row["validation_loss"] for row in checkpoint["history"]]
    assert checkpoint["epoch"] == int(np.argmin(losses)) != 0


def test_the_same_settings_give_the_same_weights_and_another_seed_gives_others(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe
) -> None:
    def state(folder: str, seed: int) -> dict[str, Any]:
        own = Folders(*(tmp_path / folder / name for name in ("a", "b", "c")))
        return fit(data, recipe(training={"epochs": 1, "seed": seed}), own, cores=1)["state"]

    first = state("first", 0)
    assert same(first, state("second", 0))
    assert not same(first, state("third", 1))


def test_nothing_is_learnt_from_validation(data: TrainingData, tmp_path: Path, recipe: MakeRecipe) -> None:
    scenes = {name: data.store.pixels[row] for row, name in enumerate(data.store.scenes)}
    others = scenes | {"s4": draw_scene(40), "s5": draw_scene(50)}
    states = []
    for folder, content in (("one", scenes), ("two", others)):
        changed = data._replace(store=write_store(tmp_path / folder / "store", content))
        own = Folders(*(tmp_path / folder / name for name in ("a", "b", "c")))
        rows = fit(changed, recipe(), own, cores=1)["history"]
        states.append((last(own)["state_dict"], rows[-1]["validation_loss"]))
    assert same(states[0][0], states[1][0])
    assert states[0][1] != states[1][1]


def test_a_run_leaves_a_log_and_tensorboard_files_and_says_nothing_of_lightning(
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert "best epoch 0 of 1" in (folders.logfiles / "training.log").read_text()
    assert list(folders.tensorboard_logs.rglob("events.out.tfevents.*"))
    assert not [record for record in caplog.records if record.name.startswith("lightning")]
    written = capfd.readouterr()
    assert "Epoch" not in written.out + written.err  # a progress bar would fill a log that is no terminal
    assert "Tip" not in written.out + written.err


def test_an_epoch_is_one_line_of_the_log(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    fit(data, recipe(), folders, cores=1)
    lines = (folders.logfiles / "training.log").read_text().splitlines()
    assert sum("epoch 0:" in line for line in lines) == sum("epoch 1:" in line for line in lines) == 1


def test_pretrained_weights_are_read_for_a_new_net_and_not_to_go_on(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(fit_room, "load_encoder_weights", lambda *_: read.append(1))
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert len(read) == 1
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert len(read) == 1


@pytest.mark.parametrize("policy", ["no_damage", "class"])
def test_every_policy_for_unclassified_buildings_trains(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, policy: str
) -> None:
    classes = 6 if policy == "class" else 5
    weighted = data._replace(class_weights={"pre": [1.0, 2.0], "post": [1.0] * classes})
    checkpoint = fit(weighted, recipe(classes={"unclassified": policy}, training={"epochs": 1}), folders, cores=1)
    assert checkpoint["state"]["damage_head.3.bias"].shape == (classes,)


class Killed(BaseException):
    pass


def stopped_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the run in the first step after so many epochs."""
    step = DamageModule.training_step

    def until(self: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        if self.current_epoch == epochs:
            raise Killed
        return step(self, pixels)

    monkeypatch.setattr(DamageModule, "training_step", until)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_two_epochs_and_two_more_are_four(
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


@pytest.mark.parametrize("changes", [{"training": {"weight_decay": 0.02}}, {"training": {"reuse": False}}])
def test_another_run_is_not_gone_on_from(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    before = (folders.checkpoints / "epochs" / "last.ckpt").stat().st_mtime_ns
    changes["training"]["epochs"] = 1
    fit(data, recipe(**changes), folders, cores=1)
    assert (folders.checkpoints / "epochs" / "last.ckpt").stat().st_mtime_ns != before


def test_early_stopping_goes_on_counting(
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


def test_a_run_goes_on_in_a_folder_that_was_moved(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (Folders(*(tmp_path / place / name for name in ("a", "b", "c"))) for place in ("here", "there"))
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


def test_a_run_that_stopped_early_is_not_gone_on_with(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 6, "patience": 2, "batch_size": 4}
    with monkeypatch.context() as patch:
        scripted(patch, [0.5, 0.4, 0.4])
        first = fit(data, recipe(training=settings), folders, cores=1)
    assert len(first["history"]) == 3
    again = fit(data, recipe(training=settings), folders, cores=1)
    assert again["history"] == first["history"]


def test_checkpoints_of_epochs_appear_whole(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    from xview2_siamese_unet.training.loop import _WholeFiles  # noqa: PLC0415

    path = folders.checkpoints / "last.ckpt"
    _WholeFiles().save_checkpoint({"weights": torch.ones(3)}, path)

    def broken(content: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(Killed):
        _WholeFiles().save_checkpoint({"weights": torch.zeros(3)}, path)
    assert torch.load(path, weights_only=True)["weights"].sum() == 3
    shutil.rmtree(folders.checkpoints)


@pytest.mark.parametrize(
    "model",
    [{"share_weights": True}, {"share_weights": False}, {"architecture": "seed"}],
    ids=["shared", "twin", "seed"],
)
def test_each_variant_trains(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, model: dict[str, object]
) -> None:
    history = fit(data, recipe(model=model, training={"epochs": 3}), folders, cores=1)["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.parametrize("levels", ["last", "all"])
@pytest.mark.parametrize("decoder", ["unet", "unetplusplus", "fpn", "upernet", "segformer"])
def test_each_decoder_learns_and_is_restored(
    *, data: TrainingData, folders: Folders, recipe: MakeRecipe, decoder: str, levels: str
) -> None:
    model = {"decoder": decoder, "decoder_channels": (32, 32, 16, 16, 8), "fusion_levels": levels}
    made = fit(data, recipe(model=model, training={"epochs": 2, "batch_size": 4}), folders, cores=1)
    losses = [row["train_loss"] for row in made["history"]]
    assert losses[0] != losses[1]
    net, _, _ = restore(made)
    assert same(dict(net.state_dict()), made["state"])
