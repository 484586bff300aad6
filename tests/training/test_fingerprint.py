"""What tells one run of training from another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_training import draw_scene

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.data import TrainingData, fingerprint

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
    first = fingerprint(data, own)
    path.write_bytes(b"two")
    assert fingerprint(data, own) != first


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_any_setting_that_changes_the_result_changes_the_fingerprint(
    data: TrainingData, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    assert fingerprint(data, recipe(**changes)) != fingerprint(data, recipe())


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
def test_what_changes_no_result_changes_no_fingerprint(
    data: TrainingData, recipe: MakeRecipe, changes: dict[str, Any]
) -> None:
    assert fingerprint(data, recipe(**changes)) == fingerprint(data, recipe())


def test_any_datum_changes_the_fingerprint(data: TrainingData, recipe: MakeRecipe, tmp_path: Path) -> None:
    scenes = {name: data.store.pixels[row] for row, name in enumerate(data.store.scenes)}
    others = [
        data._replace(train=data.train[:3]),
        data._replace(validation=["s5", "s4"]),
        data._replace(sample_weights=[1.0, 2.0, 1.0, 3.0]),
        data._replace(class_weights=data.class_weights | {"pre": [1.0, 3.0]}),
        data._replace(channels=data.channels | {"mean": [1.0, 2.0, 3.0]}),
        *(data._replace(store=write_store(tmp_path / name, scenes | {name: draw_scene(99)})) for name in ("s0", "s5")),
    ]
    marks = {fingerprint(each, recipe()) for each in (data, *others)}
    assert len(marks) == 1 + len(others)


def test_other_code_is_another_fingerprint(
    data: TrainingData, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(data, recipe())
    monkeypatch.setattr("xview2_siamese_unet.training.data.code_digest", lambda *_: "other")
    assert fingerprint(data, recipe()) != before
