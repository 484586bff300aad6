"""Six synthetic scenes with predictions, and the files that reporting writes for them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from omegaconf import OmegaConf

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.config.reporting import PanelParams, ReportingParams
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.pipelines.reporting import create_pipeline
from xview2_siamese_unet.raster.io import as_bytes

CONF = Path(__file__).parents[3] / "conf" / "base"
NAMES = [f"{event}_{number:08d}" for event in ("socal-fire", "palu-tsunami") for number in range(3)]
HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1],
        "learning_rate": [1e-3, 1e-3],
        "train_loss": [1.0, 0.5],
        "validation_loss": [1.1, 0.6],
        "validation_score": [float("nan"), 0.4],
        "validation_localization_f1": [0.2, 0.6],
        "validation_damage_f1": [0.1, 0.3],
    }
)
SETTINGS = Parameters().model_dump(mode="json")
RECIPE = {name: SETTINGS[name] for name in Recipe.model_fields} | {"training": SETTINGS["training"] | {"seed": 7}}
CHECKPOINT = {
    "version": "0.9",
    "dataset": "sample",
    "fingerprint": "f00d",
    "epoch": 0,
    "classes": RECIPE["classes"],
    "recipe": RECIPE,
    "history": HISTORY.to_dict("records"),
}
BUILDINGS = pd.DataFrame(
    {
        "uid": NAMES,
        "scene": NAMES,
        "damage": "destroyed",
        "pre_polygon": "POLYGON ((8 8, 8 16, 24 16, 24 8, 8 8))",
    }
)
CLASS_COUNTS = {"pre": {"background": 900, "building": 100}, "post": {code.word: 100 for code in Damage}}


def make_scene(seed: int) -> tuple[SimpleNamespace, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    damage = np.kron(rng.choice(6, (8, 8), p=[0.6, 0.2, 0.05, 0.05, 0.05, 0.05]), np.ones((8, 8))).astype(np.uint8)
    pre, post = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    predicted = np.where(rng.random((64, 64)) < 0.8, damage % 5, 1).astype(np.uint8)
    shares = as_bytes(rng.dirichlet(np.ones(5), (64, 64)).transpose(2, 0, 1))
    truth = SimpleNamespace(pre=pre, post=post, building=(damage > 0).astype(np.uint8), damage=damage)
    return truth, predicted, shares


@pytest.fixture(scope="session")
def reporting_inputs() -> dict[str, Any]:
    data = {name: make_scene(seed) for seed, name in enumerate(NAMES)}

    def loader(name: str, part: int) -> Callable[[], np.ndarray]:
        return lambda: data[name][part]

    return {
        "predictions": {name: loader(name, 1) for name in NAMES},
        "probabilities": {name: loader(name, 2) for name in NAMES},
        "store": SimpleNamespace(scene=lambda name: data[name][0]),
        "scenes": pd.DataFrame(
            {
                "scene": NAMES,
                "tier": "test",
                "disaster": [name.split("_")[0] for name in NAMES],
                "disaster_type": ["fire"] * 3 + ["tsunami"] * 3,
            }
        ),
        "splits": pd.DataFrame({"scene": NAMES, "split": "test"}),
        "buildings": pq.ParquetFile(io.BytesIO(BUILDINGS.to_parquet())),
        "history": HISTORY,
        "checkpoint": CHECKPOINT,
        "ingest_report": pd.DataFrame(columns=["scene", "problem", "remedy", "consequence"]),
        "class_counts": CLASS_COUNTS,
        "class_histogram": b"<svg></svg>",
        "params:reporting.split": "test",
        "params:reporting": ReportingParams(title="A <b>bold</b> title", panels=PanelParams(side=64)),
        "run": {
            "id": "2026",
            "settings": SETTINGS | RECIPE | {"more": {"losses": [{"name": "focal", "gamma": 2.5}]}},
        },
    }


@pytest.fixture(scope="session")
def after_prediction() -> Pipeline:
    return create_pipeline().filter(from_nodes=["count_confusion", "plot_curves"])


@pytest.fixture(scope="session")
def written(
    after_prediction: Pipeline, reporting_inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("reporting")
    config = OmegaConf.create((CONF / "catalog_reporting.yml").read_text())
    config["_reporting"] = str(folder)
    entries = {name: OmegaConf.to_container(config[name], resolve=True) for name in after_prediction.all_outputs()}
    catalog = DataCatalog.from_config(entries)
    for name, value in reporting_inputs.items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    SequentialRunner().run(after_prediction, catalog)
    return folder
