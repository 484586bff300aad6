from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from safetensors.torch import save_file

from small_store import noisy_scenes, write_store
from xview2_siamese_unet import __version__
from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.modelling import ModelParams, Recipe
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.datasets.checkpoint import CheckpointDataset
from xview2_siamese_unet.errors import CheckpointError, StaleError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.checkpoint import Checkpoint
from xview2_siamese_unet.models.predictor import restore
from xview2_siamese_unet.pipelines.modelling import create_pipeline
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.stats import IMAGENET
from xview2_siamese_unet.training import trainer
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.provenance import code_commit
from xview2_siamese_unet.training.trainer import Folders

SETTINGS: dict[str, Any] = {
    "model": {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": (16, 16, 8, 8, 8)},
    "training": {"epochs": 1, "batch_size": 2, "crop": 32},
    "dataloader": {"num_workers_multiplier": 0},
    "hardware": {"device": "cpu", "precision": "32-true"},
}
SCENES = ["flood_1", "quake_1", "quake_2"]
MEASURED = {"mean": [10.0, 20.0, 30.0], "std": [1.0, 2.0, 3.0]}
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("store"), noisy_scenes(SCENES))


@pytest.fixture
def run(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the pipeline with other settings; return its outputs and, under `trained`, whether it trained."""
    trained: list[int] = []
    fit = trainer.fit

    def counting(data: TrainingData, recipe: Recipe, folders: Folders, *, cores: int) -> Checkpoint:
        trained.append(1)
        return fit(data, recipe, folders, cores=cores)

    monkeypatch.setattr(trainer, "fit", counting)

    def go(class_weights: list[float] | None = None, **changes: dict[str, Any]) -> dict[str, Any]:
        trained.clear()
        sections = {name: SETTINGS.get(name, {}) | changes.get(name, {}) for name in {*SETTINGS, *changes}}
        params = Parameters.model_validate(sections)
        path = tmp_path / "checkpoints" / "e_best_siamese_unet_state.pth"
        checkpoint = CheckpointDataset(filepath=str(path))
        inputs: dict[str, Any] = {
            "store": store,
            "scenes": pd.DataFrame({"scene": SCENES, "disaster": ["joplin-tornado", "guatemala-volcano", "palu"]}),
            "splits": pd.DataFrame({"scene": SCENES, "split": ["train", "train", "validation"]}),
            "class_weights": {"pre": [1.0, 2.0], "post": class_weights or [1.0, 1.0, 2.0, 2.0, 2.0]},
            "sample_weights": {"scenes": SCENES[:2], "weights": [1.0, 1.0]},
            "channel_statistics": {"both": MEASURED},
            "training_folders": {name: tmp_path / name for name in ("tensorboard_logs", "checkpoints", "logfiles")},
            "params:dataset": DatasetParams(),
            **{f"params:{name}": getattr(params, name) for name in type(params).model_fields if name != "dataset"},
        }
        wanted = create_pipeline().inputs()
        catalog = DataCatalog(
            {name: MemoryDataset(inputs[name], copy_mode="assign") for name in wanted & inputs.keys()}
        )
        catalog["checkpoint"] = checkpoint
        catalog["weights"] = CheckpointDataset(filepath=str(tmp_path / "best_weights.safetensors"))
        catalog["history"] = MemoryDataset(copy_mode="assign")
        SequentialRunner().run(create_pipeline(), catalog)
        return {
            "weights": catalog["weights"].load(),
            "checkpoint": checkpoint.load(),
            "history": catalog["history"].load(),
            "trained": bool(trained),
        }

    return go


def test_a_run_writes_a_checkpoint_and_a_history(run: Run) -> None:
    made = run()
    assert made["trained"]
    assert made["history"]["epoch"].tolist() == [0]
    net, normalise, classes = restore(made["checkpoint"])
    assert sum(p.numel() for p in net.parameters()) > 0
    assert normalise.mean.flatten().tolist() == MEASURED["mean"]
    assert classes.unclassified == "ignore"
    assert made["checkpoint"]["dataset"] == "sample"


def test_a_finished_run_is_reused(run: Run) -> None:
    first = run()
    again = run(dataloader={"pin_memory": False, "num_workers_multiplier": 0})
    assert not again["trained"]
    assert again["history"].equals(first["history"])


@pytest.mark.parametrize(
    "changes",
    [{"class_weights": [1.0, 1.0, 2.0, 2.0, 3.0]}, {"training": {**SETTINGS["training"], "learning_rate": 1e-3}}],
    ids=str,
)
def test_a_finished_run_is_not_trained_with_other_features(run: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    run()
    path = tmp_path / "checkpoints" / "e_best_siamese_unet_state.pth"
    before = path.read_bytes()
    with pytest.raises(StaleError, match=r"have changed since.*training\.reuse=false"):
        run(**changes)
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_an_error_and_without_it_the_epochs_are_reused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    path, last = folder / "e_best_siamese_unet_state.pth", folder / "epochs" / "last.ckpt"
    first, epoch = run(), last.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"Delete {path} and"):
        run()
    path.unlink()
    again = run()
    assert last.stat().st_mtime_ns == epoch
    assert again["history"].equals(first["history"])
    state = first["checkpoint"]["state"]
    assert all(torch.equal(again["checkpoint"]["state"][name], value) for name, value in state.items())


def test_imagenet_normalisation_is_stored_in_the_checkpoint(run: Run) -> None:
    made = run(model={**SETTINGS["model"], "normalisation": "imagenet"})
    assert made["checkpoint"]["channels"] == IMAGENET


def test_both_checkpoint_formats_record_the_origin(run: Run, tmp_path: Path) -> None:
    net = build_net(ModelParams.model_validate(SETTINGS["model"]), 5)
    path = tmp_path / "encoder.safetensors"
    save_file({name: value.clone() for name, value in net.pre.encoder.state_dict().items()}, path)
    encoder = {**SETTINGS["model"]["encoder"], "weights": {"source": "file", "path": str(path)}}
    made = run(model={**SETTINGS["model"], "encoder": encoder})
    saved, exported = made["checkpoint"], made["weights"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert saved["pretrained"] == {"source": "file", "name": "encoder.safetensors", "sha256": digest}
    # From the labels, not from the names of scenes.
    assert saved["events"] == ["guatemala-volcano", "joplin-tornado", "palu"]
    assert saved["data_fingerprint"] != saved["fingerprint"]
    assert (saved["version"], saved["commit"]) == (__version__, code_commit())
    assert "CC BY-NC-SA" in saved["licence"]
    assert exported["state"].keys() == saved["state"].keys()
    assert all(torch.equal(exported["state"][name], value) for name, value in saved["state"].items())
    assert json.dumps({**exported, "state": 0}) == json.dumps({**saved, "state": 0})
