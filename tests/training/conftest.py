"""Scenes, settings and folders for training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_training import draw_scene, make_recipe

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.trainer import Folders


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    return make_recipe


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("stores") / "store", {f"s{n}": draw_scene(n) for n in range(6)})


@pytest.fixture(scope="session")
def data(store: Store) -> TrainingData:
    return TrainingData(
        name="tiny",
        store=store,
        train=["s0", "s1", "s2", "s3"],
        validation=["s4", "s5"],
        sample_weights=[1.0, 2.0, 1.0, 2.0],
        class_weights={"pre": [1.0, 2.0], "post": [0.5, 1.0, 3.0, 3.0, 3.0]},
        channels={"mean": [100.0, 90.0, 80.0], "std": [60.0, 60.0, 60.0]},
        events=["flood"],
    )


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "tensorboard_logs", tmp_path / "checkpoints", tmp_path / "logfiles")


@pytest.fixture(autouse=True, scope="session")  # before any module-scoped net is trained
def one_thread() -> None:
    torch.set_num_threads(1)
