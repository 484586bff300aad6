"""Complete training runs, of about a second each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from tiny_training import draw_scene, last, same, scripted
from tiny_training import new_module as plain_module
from torch import Tensor

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe, TrainingParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.predictor import restore
from xview2_siamese_unet.training import trainer
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.distributed import get_local_rank
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.trainer import (
    Folders,
    _warn_of_idle_gpus,
    fit,
    make_trainer,
    new_module,
)

MakeRecipe = Callable[..., Recipe]
Launch = Callable[[int, int], None]


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


def test_history_has_one_row_for_each_epoch(data: TrainingData, folders: Folders, recipe: MakeRecipe) -> None:
    checkpoint = fit(data, recipe(training={"epochs": 3}), folders, cores=1)
    history = checkpoint["history"]
    assert [row["epoch"] for row in history] == [0, 1, 2]
    columns = "epoch learning_rate train_loss validation_loss validation_score validation_mean_score"
    parts = {"train_loss_localization", "train_loss_damage"}
    assert set(history[0]) == {*columns.split(), "validation_localization_f1", "validation_damage_f1", *parts}
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert history[2]["train_loss"] < history[0]["train_loss"]


def test_the_losses_of_both_heads_add_up(data: TrainingData, folders: Folders, recipe: MakeRecipe) -> None:
    settings = recipe(training={"epochs": 1, "localization_epochs": 1}, loss_weights={"pre": 3.0, "post": 0.5})
    row = fit(data, settings, folders, cores=1)["history"][0]
    parts = row["train_loss_localization"], row["train_loss_damage"]
    assert sum(parts) == pytest.approx(row["train_loss"])
    assert min(parts) > 0
    first = torch.load(folders.checkpoints / "localization" / "epochs" / "last.ckpt", weights_only=True)["history"][0]
    assert first["train_loss_localization"] == pytest.approx(first["train_loss"])
    assert "train_loss_damage" not in first


def test_history_has_the_learning_rate_of_the_last_step(
    data: TrainingData, folders: Folders, recipe: MakeRecipe
) -> None:
    # Two steps per epoch and a restart after each epoch: after the last step, the rate would be the peak again.
    changes = {"epochs": 2, "scheduler": {"T_0": 1, "eta_min": 0.0}}
    checkpoint = fit(data, recipe(training=changes), folders, cores=1)
    assert [row["learning_rate"] for row in checkpoint["history"]] == pytest.approx([5e-4, 5e-4])


@pytest.mark.parametrize(("patience", "delta", "epochs"), [(3, 0.0, 5), (1, 0.05, 2), (9, 0.0, 6)])
def test_training_stops_without_improvement(
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


def test_the_same_settings_give_the_same_weights_and_another_seed_gives_others(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe
) -> None:
    def state(folder: str, seed: int) -> dict[str, Any]:
        own = Folders(*(tmp_path / folder / name for name in ("a", "b", "c")))
        return fit(data, recipe(training={"epochs": 1, "seed": seed}), own, cores=1)["state"]

    first = state("first", 0)
    assert same(first, state("second", 0))
    assert not same(first, state("third", 1))


def test_validation_scenes_do_not_change_the_weights(data: TrainingData, tmp_path: Path, recipe: MakeRecipe) -> None:
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


def test_a_run_writes_its_log_and_hides_that_of_lightning(
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
    assert "Epoch" not in written.out + written.err  # a progress bar would fill a log file
    assert "Tip" not in written.out + written.err


def test_an_epoch_is_one_line_of_the_log(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    fit(data, recipe(), folders, cores=1)
    lines = (folders.logfiles / "training.log").read_text().splitlines()
    assert sum("epoch 0:" in line for line in lines) == sum("epoch 1:" in line for line in lines) == 1


def test_pretrained_weights_are_read_for_a_new_net_only(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(trainer, "load_encoder_weights", lambda *_: read.append(1))
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert len(read) == 1
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert len(read) == 1


@pytest.mark.parametrize("unclassified", ["no_damage", "class"])
def test_every_value_of_unclassified_can_be_trained(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, unclassified: str
) -> None:
    classes = 6 if unclassified == "class" else 5
    weighted = data._replace(class_weights={"pre": [1.0, 2.0], "post": [1.0] * classes})
    checkpoint = fit(weighted, recipe(classes={"unclassified": unclassified}, training={"epochs": 1}), folders, cores=1)
    assert checkpoint["state"]["damage_head.3.bias"].shape == (classes,)


@pytest.mark.parametrize(("few", "warns"), [(5, True), (4, False)])
def test_few_steps_cause_a_warning(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    few: int,
    warns: bool,
) -> None:
    monkeypatch.setattr(trainer, "_FEW_STEPS", few)
    fit(data, recipe(training={"epochs": 2}), folders, cores=1)  # of two steps each
    assert ("only 4 optimiser steps" in caplog.text) == warns


def test_an_unknown_loss_is_refused_before_training(data: TrainingData, recipe: MakeRecipe, folders: Folders) -> None:
    with pytest.raises(ConfigError, match=r"training\.losses\.post must be one of .*, got 'dicee'"):
        fit(data, recipe(training={"losses": {"post": {"dicee": 1.0}}}), folders, cores=1)
    assert not folders.logfiles.exists()


@pytest.mark.parametrize("detected_in", ["step", "validation"])
def test_a_diverged_training_stops_at_once_and_names_the_learning_rate(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, detected_in: str
) -> None:
    steps = []
    learn = DamageModule.training_step

    def watch(self: DamageModule, pixels: Tensor) -> Tensor:
        steps.append(len(pixels))
        loss = learn(self, pixels)
        return loss * float("nan") if detected_in == "step" else loss

    monkeypatch.setattr(DamageModule, "training_step", watch)
    if detected_in == "validation":
        monkeypatch.setattr(DamageModule, "_reduce", lambda _, number, operation: number * float("inf"))
    with pytest.raises(ConfigError, match=r"diverged with training\.learning_rate 0\.001"):
        fit(data, recipe(training={"epochs": 4, "monitor": "validation_loss"}), folders, cores=1)
    assert len(steps) == (1 if detected_in == "step" else 2)
    assert not (folders.checkpoints / "epochs" / "best.ckpt").exists()


@pytest.mark.parametrize(("gpus", "launched", "used"), [(4, 0, 1), (4, 2, 2), (4, 4, None), (1, 0, None)])
def test_idle_gpus_cause_a_warning(
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
    warned = [f"uses {used} of the {gpus} GPUs" in message for message in caplog.messages]
    assert warned == ([True] if used else [])
    caplog.clear()
    _warn_of_idle_gpus("cpu")
    assert caplog.messages == []


MONITORS = get_args(TrainingParams.model_fields["monitor"].annotation)
# Each metric is best in a different epoch.
SCORES = {
    "validation_score": [0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    "validation_localization_f1": [0.4, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5],
    "validation_damage_f1": [0.4, 0.5, 0.9, 0.5, 0.5, 0.5, 0.5],
    "validation_loss": [0.9, 0.8, 0.7, 0.1, 0.5, 0.5, 0.5],
    "validation_mean_score": [0.4, 0.5, 0.5, 0.6, 0.9, 0.5, 0.5],
}


@pytest.mark.parametrize("monitor", MONITORS)
def test_monitor_decides_the_best_epoch_and_patience(
    data: TrainingData,
    folders: Folders,
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    monitor: str,
) -> None:
    log = DamageModule.log

    def script(self: DamageModule, name: str, value: object, **kwargs: Any) -> None:  # noqa: ANN401
        log(self, name, SCORES[name][self.current_epoch] if name in SCORES else value, **kwargs)

    monkeypatch.setattr(DamageModule, "log", script)
    settings = recipe(training={"epochs": 7, "patience": 2, "batch_size": 4, "monitor": monitor})
    made = fit(data, settings, folders, cores=1)
    wanted = [*SCORES].index(monitor)
    best = torch.load(folders.checkpoints / "epochs" / "best.ckpt", weights_only=True)
    assert (best["epoch"], made["epoch"], len(made["history"])) == (wanted, wanted, wanted + 3)
    assert made["scores"] == pytest.approx({name: values[wanted] for name, values in SCORES.items()})
    assert all(torch.equal(best["state_dict"][f"net.{name}"], value) for name, value in made["state"].items())


@pytest.mark.slow
def test_a_net_overfits_eight_scenes(folders: Folders, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    scenes = {f"s{n}": draw_scene(n) for n in range(8)}
    data = TrainingData(
        name="eight",
        store=write_store(tmp_path / "store", scenes),
        train=list(scenes),
        validation=list(scenes),
        sample_weights=[1.0] * 8,
        class_weights={"pre": [1.0, 1.0], "post": [1.0] * 5},
        channels={"mean": [70.0] * 3, "std": [60.0] * 3},
        events=["flood"],
    )
    settings = recipe(
        model={"decoder_channels": (32, 16, 16, 8, 8)},
        training={
            "epochs": 12,
            "batch_size": 4,
            "crops_per_scene": 3,
            "crop": None,
            "sampler": "uniform",
            "learning_rate": 5e-3,
            "scheduler": {"T_0": 12},
            "patience": 12,
            "augmentation": {"flips": False, "brightness": 0.0, "contrast": 0.0},
        },
    )
    assert fit(data, settings, folders, cores=1)["scores"]["validation_score"] > 0.95


def test_a_profile_in_device_memory_logs_shares_and_changes_nothing_else(
    data: TrainingData, tmp_path: Path, recipe: MakeRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="xview2_siamese_unet")
    profiled = {"hardware": {"profile": True}, "dataloader": {"location": "device"}}
    made, plain = (
        fit(data, recipe(**changes), Folders(*(tmp_path / str(len(changes)) / name for name in "abc")), cores=1)
        for changes in (profiled, {})
    )
    shares = [f"share_{part}" for part in ("data", "forward", "backward", "optimiser")]
    for row, without in zip(made["history"], plain["history"], strict=True):
        assert sum(row.pop(name) for name in shares) == pytest.approx(1)
        assert row.pop("pairs_per_second") > 0
        assert row == without
    assert same(made["state"], plain["state"])
    assert caplog.text.count("the bottleneck is") == 2


@pytest.mark.parametrize(
    "variables",
    [{"RANK": "1", "WORLD_SIZE": "2"}, {"LOCAL_RANK": "1"}, {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}],
    ids=lambda variables: next(iter(variables)),
)
def test_a_rank_without_torchrun_is_ignored(
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # Lightning reads it from these variables on import
    fit(data, recipe(training={"epochs": 1}), folders, cores=1)
    assert len(list(folders.tensorboard_logs.rglob("events.*"))) == 1
    assert (folders.checkpoints / "epochs" / "best.ckpt").is_file()
    assert get_local_rank() == 0


@pytest.mark.parametrize(
    "model",
    [
        {"decoder": "unetplusplus", "fusion_levels": "all"},
        {"decoder": "fpn"},
        {"decoder": "upernet", "fusion_levels": "all"},
        {"decoder": "segformer"},
        {"share_weights": False},
        {"architecture": "seed"},
    ],
    ids=str,
)
def test_every_net_is_trained_and_restored(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, model: dict[str, Any]
) -> None:
    settings = recipe(model=model | {"decoder_channels": (32, 32, 16, 16, 8)}, training={"epochs": 3, "batch_size": 4})
    made = fit(data, settings, folders, cores=1)
    assert made["history"][-1]["train_loss"] < made["history"][0]["train_loss"]
    net, _, _ = restore(made)
    assert same(dict(net.state_dict()), made["state"])


def test_hardware_and_loop_parameters_reach_lightning(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning.Trainer", dict)
    training = {"epochs": 7, "gradient_clip": 0.5, "accumulate": 3}
    settings = recipe(training=training, hardware={"precision": "bf16-mixed", "deterministic": True})
    arguments = make_trainer(plain_module(data, settings), "cpu", tmp_path, tmp_path)
    expected = {
        "max_epochs": 7,
        "gradient_clip_val": 0.5,
        "accumulate_grad_batches": 3,
        "precision": "bf16-mixed",
        "deterministic": True,
        "profiler": None,
    }
    assert {name: arguments[name] for name in expected} == expected


@pytest.mark.parametrize("enabled", [True, False])
def test_compile_and_channels_last_apply_to_the_net(
    data: TrainingData, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_: compiled.append(1))
    hardware = {"compile": enabled, "channels_last": enabled}
    net = new_module(data, recipe(hardware=hardware), start=None, fresh=True).net
    assert bool(compiled) == enabled
    assert net.damage_head[0].weight.is_contiguous(memory_format=torch.channels_last) == enabled


def test_each_batch_has_its_own_seed(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    step = DamageModule.training_step

    def watch(self: DamageModule, pixels: Tensor) -> Tensor:
        seeds.append(torch.initial_seed())
        return step(self, pixels)

    monkeypatch.setattr(DamageModule, "training_step", watch)
    fit(data, recipe(training={"epochs": 2, "accumulate": 2}), folders, cores=1)
    assert len(set(seeds)) == len(seeds) == 4


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")], ids=str)
def test_the_error_for_exhausted_memory_names_what_to_lower(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def step(*_: object) -> None:
        raise error

    monkeypatch.setattr(DamageModule, "training_step", step)
    with pytest.raises(ConfigError, match=r"batch_size 2 and crops of 32 pixels.*Lower training\.batch_size"):
        fit(data, recipe(), folders, cores=1)


def test_an_operation_without_a_deterministic_form_is_refused(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: DamageModule, pixels: Tensor) -> None:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))  # not deterministic on any device

    monkeypatch.setattr(DamageModule, "training_step", step)
    try:
        with pytest.raises(ConfigError, match=r"put_ has no deterministic form"):
            fit(data, recipe(hardware={"deterministic": True}), folders, cores=1)
    finally:
        torch.use_deterministic_algorithms(False)
