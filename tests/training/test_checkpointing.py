"""Checkpoints of epochs, damaged ones included, and fingerprints."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import draw_scene, same

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.checkpoint import Checkpoint
from xview2_siamese_unet.training.checkpointing import best_weights, last_epoch, training_fingerprint
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.trainer import Folders, fit

MakeRecipe = Callable[..., Recipe]
CHANGES: list[dict[str, Any]] = [
    {"model": {"encoder": {"name": "resnet18"}}},
    {"model": {"encoder": {"weights": {"source": "cache"}}}},
    {"model": {"encoder": {"weights": {"name": "ssl"}}}},
    {"model": {"encoder": {"weights": {"path": "w.pth"}}}},
    {"model": {"decoder_channels": (16, 16, 8, 8, 16)}},
    {"model": {"share_weights": False}},
    {"model": {"fusion": "concat"}},
    {"model": {"fusion_levels": "all"}},
    {"model": {"bottleneck": 8}},
    {"model": {"decoder": "upernet"}},
    {"model": {"normalisation": "imagenet"}},
    {"classes": {"unclassified": "class"}},
    {"training": {"patience": 3}},
    {"training": {"delta": 0.1}},
    {"training": {"monitor": "validation_loss"}},
    {"training": {"epochs": 3}},
    {"prediction": {"tta": "flips"}},
    {"prediction": {"vote": "connected"}},
    {"prediction": {"vote_weights": (1.0, 2.0, 1.0, 1.0)}},
    {"prediction": {"tune": True}},
    {"prediction": {"calibrate": False}},
]


def test_other_weights_in_the_same_file_change_the_fingerprint(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    own = recipe(model={"encoder": {"weights": {"source": "file", "path": path}}})
    path.write_bytes(b"one")
    first = training_fingerprint(data, own)
    path.write_bytes(b"two")
    assert training_fingerprint(data, own) != first


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_any_setting_that_changes_the_result_changes_the_fingerprint(
    data: TrainingData, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    assert training_fingerprint(data, recipe(**changes)) != training_fingerprint(data, recipe())


@pytest.mark.parametrize(
    "changes",
    [
        {"dataloader": {"num_workers_multiplier": 2}},
        {"dataloader": {"pin_memory": False}},
        {"dataloader": {"location": "device"}},
        {"training": {"reuse": False}},
        {"training": {"lr_find": True}},
        {"hardware": {"profile": True}},
        {"hardware": {"device": "auto"}},
        {"hardware": {"precision": "16-mixed"}},
    ],
    ids=str,
)
def test_settings_that_do_not_change_the_result_keep_the_fingerprint(
    data: TrainingData, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    assert training_fingerprint(data, recipe(**changes)) == training_fingerprint(data, recipe())


def test_any_change_of_the_data_changes_the_fingerprint(data: TrainingData, recipe: MakeRecipe, tmp_path: Path) -> None:
    scenes = {name: data.store.pixels[row] for row, name in enumerate(data.store.scenes)}
    others = [
        data._replace(train=data.train[:3]),
        data._replace(validation=["s5", "s4"]),
        data._replace(sample_weights=[1.0, 2.0, 1.0, 3.0]),
        data._replace(class_weights=data.class_weights | {"pre": [1.0, 3.0]}),
        data._replace(channels=data.channels | {"mean": [1.0, 2.0, 3.0]}),
        *(data._replace(store=write_store(tmp_path / name, scenes | {name: draw_scene(99)})) for name in ("s0", "s5")),
    ]
    fingerprints = {training_fingerprint(each, recipe()) for each in (data, *others)}
    assert len(fingerprints) == 1 + len(others)


def test_changed_code_changes_the_fingerprint(
    data: TrainingData, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = training_fingerprint(data, recipe())
    monkeypatch.setattr("xview2_siamese_unet.training.checkpointing.code_digest", lambda *_: "other")
    assert training_fingerprint(data, recipe()) != before


SETTINGS = {"epochs": 1, "localization_epochs": 1}


def a_list(_: bytes) -> bytes:
    written = io.BytesIO()
    torch.save([1, 2], written)
    return written.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "first bytes": lambda whole: whole[:5000],  # for which torch reports a disk error
    "without its last byte": lambda whole: whole[:-1],
    "empty": lambda _: b"",
    "junk": lambda whole: b"\x80junk" * (len(whole) // 5),
    "zeros": lambda whole: bytes(len(whole)),
    "something else": a_list,
}


@pytest.fixture(scope="module")
def finished(
    data: TrainingData, recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Checkpoint]:
    """Return the folder of a finished training of two stages, and its checkpoint."""
    folder = tmp_path_factory.mktemp("finished")
    own = Folders(*(folder / name for name in ("tensorboard_logs", "checkpoints", "logfiles")))
    return folder, fit(data, recipe(training=SETTINGS), own, cores=1)


@pytest.fixture
def folders(finished: tuple[Path, Checkpoint], tmp_path: Path) -> Folders:
    """Return the folders of a copy of the finished training."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return Folders(*(tmp_path / "copy" / name for name in ("tensorboard_logs", "checkpoints", "logfiles")))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_error_for_a_damaged_file_names_what_to_delete(folders: Folders, damage: Callable[[bytes], bytes]) -> None:
    epochs = folders.checkpoints / "epochs"
    for path, read, delete in (
        (epochs / "last.ckpt", last_epoch, epochs / "last.ckpt"),
        (epochs / "best.ckpt", best_weights, epochs),
    ):
        read(epochs)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))} (is|holds) ") as caught:
            read(epochs)
        assert f"Delete {delete} and" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "delete", "missing"),
    [
        ("epochs/last.ckpt", "epochs/last.ckpt", ()),
        ("localization/epochs/last.ckpt", "localization/epochs/last.ckpt", ()),
        ("epochs/best.ckpt", "epochs", ()),
        ("epochs/best.ckpt", "epochs", ("epochs/best.ckpt",)),
        ("localization/epochs/best.ckpt", "localization/epochs", ("epochs/best.ckpt", "epochs/last.ckpt")),
    ],
    ids=["last", "last of the first stage", "best", "missing best", "best of the first stage"],
)
def test_training_stops_at_a_damaged_epoch_and_resumes_after_the_hint(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    finished: tuple[Path, Checkpoint],
    name: str,
    delete: str,
    missing: tuple[str, ...],
) -> None:
    path, advised = folders.checkpoints / name, folders.checkpoints / delete
    path.write_bytes(path.read_bytes()[:1000])
    for each in missing:
        (folders.checkpoints / each).unlink()
    before = {path: path.read_bytes() for path in folders.checkpoints.rglob("*.ckpt")}
    with pytest.raises(CheckpointError, match=re.escape(f"{path} is ")) as caught:
        fit(data, recipe(training=SETTINGS), folders, cores=1)
    assert f"Delete {advised} and" in caught.value.hint
    assert {path: path.read_bytes() for path in folders.checkpoints.rglob("*.ckpt")} == before
    shutil.rmtree(advised) if advised.is_dir() else advised.unlink()
    assert same(fit(data, recipe(training=SETTINGS), folders, cores=1)["state"], finished[1]["state"])
