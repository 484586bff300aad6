"""Training as a whole, on scenes that are learnt in seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import draw_scene, last, same, scripted
from torch import Tensor

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError, StorageError
from xview2_siamese_unet.training import fit as fit_room
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, _new_module, _warn_of_idle_gpus, fit
from xview2_siamese_unet.training.module import DamageModule

MakeRecipe = Callable[..., Recipe]


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
    parts = {"train_loss_localization", "train_loss_damage"}
    assert set(history[0]) == {*columns.split(), "validation_damage_f1", *parts}
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert history[2]["train_loss"] < history[0]["train_loss"]


def test_the_losses_of_both_heads_add_up_to_that_of_training(
    data: TrainingData, folders: Folders, recipe: MakeRecipe
) -> None:
    settings = recipe(training={"epochs": 1, "localization_epochs": 1}, loss_weights={"pre": 3.0, "post": 0.5})
    row = fit(data, settings, folders, cores=1)["history"][0]
    parts = row["train_loss_localization"], row["train_loss_damage"]
    assert sum(parts) == pytest.approx(row["train_loss"])
    assert min(parts) > 0
    first = torch.load(folders.checkpoints / "localization" / "epochs" / "last.ckpt", weights_only=True)["history"][0]
    assert first["train_loss_localization"] == pytest.approx(first["train_loss"])
    assert "train_loss_damage" not in first


def test_what_a_head_adds_to_the_loss_follows_its_weight(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe
) -> None:
    def losses(**weights: float) -> tuple[float, float]:
        own = Folders(*(tmp_path / str(weights) / name for name in ("a", "b", "c")))
        still = {"epochs": 1, "learning_rate": 1e-12, "batch_size": 4}
        row = fit(data, recipe(training=still, loss_weights=weights), own, cores=1)["history"][0]
        return row["train_loss_localization"], row["train_loss_damage"]

    building, damage = losses()
    assert losses(pre=3.0, post=2.0) == pytest.approx((3 * building, 2 * damage), rel=1e-4)


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


@pytest.mark.parametrize(("few", "said"), [(5, True), (4, False)])
def test_a_run_of_few_steps_says_so(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    few: int,
    said: bool,
) -> None:
    monkeypatch.setattr(fit_room, "_FEW_STEPS", few)
    fit(data, recipe(training={"epochs": 2}), folders, cores=1)  # of two steps each
    assert ("only 4 steps" in caplog.text) == said


@pytest.mark.parametrize("found", ["step", "validation"])
def test_a_net_that_diverged_stops_at_once_and_names_the_learning_rate(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    steps = []
    learn = DamageModule.training_step

    def watch(self: DamageModule, pixels: Tensor) -> Tensor:
        steps.append(len(pixels))
        loss = learn(self, pixels)
        return loss * float("nan") if found == "step" else loss

    monkeypatch.setattr(DamageModule, "training_step", watch)
    if found == "validation":
        monkeypatch.setattr(DamageModule, "_sum", lambda _, number: number * float("inf"))
    with pytest.raises(ConfigError, match=r"training\.learning_rate: found 0\.001, with which the net diverged"):
        fit(data, recipe(training={"epochs": 4, "monitor": "validation_loss"}), folders, cores=1)
    assert len(steps) == (1 if found == "step" else 2)
    assert not (folders.checkpoints / "epochs" / "best.ckpt").exists()


def test_a_step_that_half_precision_will_skip_stops_nothing(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = _new_module(data, recipe(), start=None, fresh=True)
    outputs = {"loss": torch.tensor(float("nan"))}
    for precision, stops in (("16-mixed", False), ("bf16-mixed", True)):
        trainer = SimpleNamespace(precision=precision, current_epoch=0)
        monkeypatch.setattr(DamageModule, "trainer", trainer)
        module.on_train_batch_end(outputs, None, 5)
        with pytest.raises(ConfigError) if stops else nullcontext():
            module.on_train_batch_end(outputs, None, 10)


@pytest.mark.parametrize(("gpus", "launched", "used"), [(4, 0, 1), (4, 2, 2), (4, 4, None), (1, 0, None)])
def test_gpus_that_a_training_leaves_idle_are_warned_of(
    *,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    launch: Callable[[int, int], None],
    gpus: int,
    launched: int,
    used: int | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if launched:
        launch(0, launched)
    _warn_of_idle_gpus("cuda")
    said = [f"uses {used} of the {gpus} GPUs" in message for message in caplog.messages]
    assert said == ([True] if used else [])
    caplog.clear()
    _warn_of_idle_gpus("cpu")
    assert caplog.messages == []


FULL = [
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    "RuntimeError: unable to allocate shared memory(shm) for file </torch_9_1_0>: No space left on device (28)\n",
    "DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.",
]


@pytest.mark.parametrize("covered", [False, True], ids=["last", "followed by another"])
@pytest.mark.parametrize("text", FULL, ids=["refused", "bus error"])
def test_workers_without_shared_memory_end_in_a_sentence_that_names_the_remedies(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, text: str, covered: bool
) -> None:
    def full(self: DamageModule, pixels: Tensor) -> Tensor:
        try:
            raise RuntimeError(text)
        except RuntimeError:
            if covered:
                raise RuntimeError("DataLoader worker (pid 9) is killed by signal: Terminated.")  # noqa: B904
            raise

    monkeypatch.setattr(DamageModule, "training_step", full)
    with pytest.raises(StorageError, match="ran out of shared memory") as caught:
        fit(data, recipe(), folders, cores=1)
    assert "--shm-size" in caught.value.hint
    assert "dataloader.num_workers_multiplier: 0" in caught.value.hint


def test_other_errors_of_a_step_stay_what_they_are(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: DamageModule, pixels: Tensor) -> Tensor:
        raise RuntimeError("out of resource: shared memory, Required: 147456, Hardware limit: 101376")  # Triton's

    monkeypatch.setattr(DamageModule, "training_step", fail)
    with pytest.raises(RuntimeError, match="out of resource"):
        fit(data, recipe(), folders, cores=1)
