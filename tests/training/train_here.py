"""Trains on a store, in one process or as a rank of torchrun."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from tiny_training import make_recipe

from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.distributed import get_rank
from xview2_siamese_unet.training.trainer import Folders, fit


def main(store: Path, folder: Path, changes: dict[str, dict[str, object]]) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO)
    data = TrainingData(
        name="tiny",
        store=Store(store),
        train=["s0", "s1", "s2"],
        validation=["s3", "s4", "s5"],
        sample_weights=[1.0, 2.0, 1.0],
        class_weights={"pre": [1.0, 2.0], "post": [0.5, 1.0, 3.0, 3.0, 3.0]},
        channels={"mean": [100.0, 90.0, 80.0], "std": [60.0, 60.0, 60.0]},
        events=["s"],
    )
    made = fit(data, make_recipe(**changes), Folders(folder / "a", folder / "b", folder / "c"), cores=1)
    assert not torch.distributed.is_initialized()  # torch would complain at the end of the process
    rule = {key: made[key] for key in ("temperatures", "calibration", "thresholds", "prediction")}  # type: ignore[literal-required]
    (folder / f"rule_{get_rank()}.json").write_text(json.dumps(rule), encoding="utf-8")
