from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner
from safetensors.torch import save_file

from small_store import noisy_scenes, write_store
from xview2_siamese_unet import __version__
from xview2_siamese_unet.datasets.checkpoint import CheckpointDataset
from xview2_siamese_unet.errors import cause_of
from xview2_siamese_unet.nets.build import build_net
from xview2_siamese_unet.nets.checkpoint import Checkpoint, restore
from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.params.modelling import ModelParams, Recipe
from xview2_siamese_unet.params.tree import Parameters
from xview2_siamese_unet.pipelines.modelling import create_pipeline
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.stats.moments import IMAGENET
from xview2_siamese_unet.training import fit as fit_room
from xview2_siamese_unet.training.commit import code_commit
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders
from xview2_siamese_unet.training.module import DamageModule

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
    """Run the pipeline with other settings; returns what it made, and under `trained` whether it trained."""
    trained: list[int] = []
    fit = fit_room.fit

    def counting(data: TrainingData, recipe: Recipe, folders: Folders, *, cores: int) -> Checkpoint:
        trained.append(1)
        return fit(data, recipe, folders, cores=cores)

    monkeypatch.setattr(fit_room, "fit", counting)

    def go(class_weights: list[float] | None = None, **changes: dict[str, Any]) -> dict[str, Any]:
        trained.clear()
        sections = {name: SETTINGS.get(name, {}) | changes.get(name, {}) for name in {*SETTINGS, *changes}}
        params = Parameters.model_validate(sections)
        checkpoint = CheckpointDataset(filepath=str(tmp_path / "best.pth"))
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
        catalog["finished_checkpoint"] = CheckpointDataset(filepath=str(tmp_path / "best.pth"), optional=True)
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


def test_a_run_leaves_a_checkpoint_that_answers_and_a_history(run: Run) -> None:
    made = run()
    assert made["trained"]
    assert made["history"]["epoch"].tolist() == [0]
    net, normalise, classes = restore(made["checkpoint"])
    assert sum(p.numel() for p in net.parameters()) > 0
    assert normalise.mean.flatten().tolist() == MEASURED["mean"]
    assert classes.unclassified == "ignore"
    assert made["checkpoint"]["dataset"] == "sample"


@pytest.mark.parametrize("epochs", [0, 1], ids=["before its first epoch ended", "after an epoch"])
def test_a_training_that_began_anew_and_was_stopped_is_gone_on_with_and_the_earlier_one_is_not_taken_over(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    def stop(module: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        if module.current_epoch == epochs:
            raise RuntimeError("stopped")
        return step(module, pixels)

    step, two = DamageModule.training_step, {**SETTINGS["training"], "epochs": 2}
    run(training=two)
    last = tmp_path / "checkpoints" / "epochs" / "last.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "training_step", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            run(training={**two, "reuse": False})
    assert last.exists() == bool(epochs)
    assert run(training=two)["trained"]
    assert not run(training=two)["trained"]


def test_nothing_is_trained_again_when_nothing_changed(run: Run) -> None:
    first = run()
    again = run(dataloader={"pin_memory": False, "num_workers_multiplier": 0})
    assert not again["trained"]
    assert again["history"].equals(first["history"])


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {**SETTINGS["training"], "learning_rate": 1e-3}},
        {"training": {**SETTINGS["training"], "reuse": False}},
        {"model": {**SETTINGS["model"], "fusion": "concat"}},
        {"class_weights": [1.0, 1.0, 2.0, 2.0, 3.0]},
    ],
    ids=str,
)
def test_any_change_trains_again(run: Run, changes: dict[str, Any]) -> None:
    run()
    assert run(**changes)["trained"]


def test_a_checkpoint_of_another_kind_of_run_is_no_reason_to_stop(run: Run, tmp_path: Path) -> None:
    CheckpointDataset(filepath=str(tmp_path / "best.pth")).save({"something": "else"})
    assert run()["trained"]


def test_a_damaged_checkpoint_stops_a_run_and_without_it_the_epochs_are_not_trained_again(
    run: Run, tmp_path: Path
) -> None:
    path, last = tmp_path / "best.pth", tmp_path / "checkpoints" / "epochs" / "last.ckpt"
    first, epoch = run(), last.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError) as caught:
        run()
    assert f"next: delete {path}, " in str(cause_of(caught.value))
    path.unlink()
    again = run()
    assert last.stat().st_mtime_ns == epoch
    assert again["history"].equals(first["history"])
    state = first["checkpoint"]["state"]
    assert all(torch.equal(again["checkpoint"]["state"][name], value) for name, value in state.items())


def test_normalisation_follows_the_weights_that_it_is_for(run: Run) -> None:
    made = run(model={**SETTINGS["model"], "normalisation": "imagenet"})
    assert made["checkpoint"]["channels"] == IMAGENET


def test_a_checkpoint_says_where_it_comes_from_in_both_formats(run: Run, tmp_path: Path) -> None:
    net = build_net(ModelParams.model_validate(SETTINGS["model"]), 5)
    path = tmp_path / "encoder.safetensors"
    save_file({name: value.clone() for name, value in net.pre.encoder.state_dict().items()}, path)
    encoder = {**SETTINGS["model"]["encoder"], "weights": {"source": "file", "path": str(path)}}
    made = run(model={**SETTINGS["model"], "encoder": encoder})
    saved, exported = made["checkpoint"], made["weights"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert saved["pretrained"] == {"source": "file", "name": "encoder.safetensors", "sha256": digest}
    assert saved["events"] == ["guatemala-volcano", "joplin-tornado"]  # of the labels, not of the names of scenes
    assert saved["data_fingerprint"] != saved["fingerprint"]
    assert (saved["version"], saved["commit"]) == (__version__, code_commit())
    assert "CC BY-NC-SA" in saved["licence"]
    assert exported["state"].keys() == saved["state"].keys()
    assert all(torch.equal(exported["state"][name], value) for name, value in saved["state"].items())
    assert json.dumps({**exported, "state": 0}) == json.dumps({**saved, "state": 0})


def test_the_data_have_a_fingerprint_of_their_own(run: Run) -> None:
    first, other_settings = (
        run()["checkpoint"],
        run(training={**SETTINGS["training"], "learning_rate": 1e-3})["checkpoint"],
    )
    other_data = run(class_weights=[1.0, 1.0, 2.0, 2.0, 3.0])["checkpoint"]
    assert first["data_fingerprint"] == other_settings["data_fingerprint"] != other_data["data_fingerprint"]
