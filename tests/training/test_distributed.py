"""Training with several processes, and killed processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from train_here import main

from run_command import FORKS
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.distributed import is_torchrun

# No batch statistics and no randomness except in the sampler, because they depend on the number of processes.
# The learning rate is tiny, because AdamW divides each gradient by its own size and turns rounding errors into a full
# step.
PLAIN = {
    "model": {"share_weights": True},
    "training": {
        "epochs": 1,
        "learning_rate": 1e-12,
        "batch_size": 4,
        "crop": None,
        "crops_per_scene": 27,
        "batch_norm": "freeze",
        "augmentation": {"flips": False, "brightness": 0.0, "contrast": 0.0},
        "losses": {"pre": {"dice": 1.0}, "post": {"dice": 1.0}},
        "ema_decay": 0.9,
    },
    "prediction": {"tune": True, "vote": "connected", "tta": "flips"},
}


def train_with_two_ranks(store: Store, folder: Path, changes: dict[str, Any]) -> str:
    """Train like torchrun, in processes that need not import torch again; return their output."""
    logs = DefaultLogsSpecs(str(folder / "logs"), redirects=Std.ALL)
    config = LaunchConfig(
        *(1, 1, 2), logs, "two", rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method=FORKS, max_restarts=0
    )
    elastic_launch(config, main)(store.folder, folder, changes)
    return "".join(path.read_text(encoding="utf-8") for path in folder.glob("logs/**/std*.log"))


def last(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "b" / "epochs" / "last.ckpt", weights_only=True)
    return found


def rule(folder: Path, rank: int) -> dict[str, Any]:
    """Return the decision rule that a rank tuned, as flat parts."""
    found = json.loads((folder / f"rule_{rank}.json").read_text(encoding="utf-8"))
    weights = dict(enumerate(found.pop("prediction")["vote_weights"]))
    return {**found, "vote_weights": weights}


def gradient_means(checkpoint: dict[str, Any]) -> list[torch.Tensor]:
    """Return the running means of all gradients in AdamW."""
    return [state["exp_avg"] for state in checkpoint["optimizer_states"][0]["state"].values()]


@pytest.mark.slow
def test_gradients_scores_and_decision_rule_of_two_ranks_equal_those_of_one(store: Store, tmp_path: Path) -> None:
    text = train_with_two_ranks(store, tmp_path / "two", PLAIN)
    main(store.folder, tmp_path / "one", PLAIN)
    assert "training on cpu" in text
    one, two = last(tmp_path / "one"), last(tmp_path / "two")
    assert one["global_step"] == two["global_step"] == 20
    for key, value in one["history"][0].items():
        assert two["history"][0][key] == pytest.approx(value, rel=1e-5), key
    gradients = gradient_means(one), gradient_means(two)
    total = torch.stack([gradient.norm() for gradient in gradients[0]]).norm()
    for alone, together in zip(*gradients, strict=True):
        # Relative to its own norm, or to that of the whole gradient if its own is negligible.
        assert (together - alone).norm() < 1e-3 * alone.norm() + 1e-6 * total
    assert rule(tmp_path / "two", 0) == rule(tmp_path / "two", 1)
    for part, values in rule(tmp_path / "one", 0).items():
        assert rule(tmp_path / "two", 0)[part] == pytest.approx(values, rel=1e-4), part
    assert len(list((tmp_path / "two" / "a").rglob("events.*"))) == 1  # the other process writes nothing
    assert "Warning" not in text


@pytest.mark.slow
def test_ranks_do_not_wait_for_unused_weights(store: Store, tmp_path: Path) -> None:
    # The first stage does not use the damage head, and the last layers of this encoder only classify.
    settings: dict[str, Any] = {
        "model": {"encoder": {"name": "efficientnet-b0"}},
        "training": {"epochs": 1, "localization_epochs": 1, "batch_size": 4, "crops_per_scene": 4, "ema_decay": 0.9},
    }
    train_with_two_ranks(store, tmp_path, settings)
    assert last(tmp_path)["global_step"] == 3


@pytest.mark.slow
def test_a_killed_run_leaves_a_complete_epoch(store: Store, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training": {"epochs": 500, "crops_per_scene": 4, "patience": 1000}}
    codes = {signal.SIGTERM: 143, signal.SIGKILL: -9}
    forks = multiprocessing.get_context(FORKS)
    runs = {kind: forks.Process(target=main, args=(store.folder, tmp_path / kind.name, settings)) for kind in codes}
    for process in runs.values():
        process.start()
    waited = time.monotonic() + 120
    for kind in codes:
        while not (tmp_path / kind.name / "b" / "epochs" / "last.ckpt").exists() and time.monotonic() < waited:
            time.sleep(0.05)
    time.sleep(0.3)  # somewhere in a step, or in the middle of a checkpoint
    for kind, process in runs.items():
        os.kill(process.pid, kind)
        process.join(60)
        assert process.exitcode == codes[kind]
        checkpoint = last(tmp_path / kind.name)
        assert len(checkpoint["history"]) == checkpoint["epoch"] + 1
        assert "state_dict" in checkpoint


@pytest.mark.parametrize("by_torchrun", [True, False])
def test_is_torchrun_agrees_with_torch(monkeypatch: pytest.MonkeyPatch, by_torchrun: bool) -> None:
    monkeypatch.setenv("RANK", "1")
    if by_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    assert is_torchrun() == torch.distributed.is_torchelastic_launched() == by_torchrun
