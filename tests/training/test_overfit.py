from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_training import draw_scene

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit


@pytest.mark.slow
def test_eight_pairs_are_learnt_by_heart(folders: Folders, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
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
        model={"decoder_channels": (64, 32, 32, 16, 16)},
        training={
            "epochs": 20,
            "batch_size": 4,
            "crops_per_scene": 3,
            "crop": None,
            "sampler": "uniform",
            "learning_rate": 5e-3,
            "scheduler": {"T_0": 20},
            "patience": 20,
            "augmentation": {"flips": False, "brightness": 0.0, "contrast": 0.0},
        },
    )
    assert fit(data, settings, folders, cores=1)["scores"]["validation_score"] > 0.95
