"""A damaged checkpoint of an epoch stops a run with one sentence, whose advice helps; nothing else is touched."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_training import same

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.checkpoint import Checkpoint
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit

MakeRecipe = Callable[..., Recipe]
SETTINGS = {"epochs": 1, "localization_epochs": 1}


def a_list(_: bytes) -> bytes:
    written = io.BytesIO()
    torch.save([1, 2], written)
    return written.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "a beginning": lambda whole: whole[:5000],  # for which torch blames the disk
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
    """Return the folder of a finished training of two stages, and what it made."""
    folder = tmp_path_factory.mktemp("finished")
    own = Folders(*(folder / name for name in ("tensorboard_logs", "checkpoints", "logfiles")))
    return folder, fit(data, recipe(training=SETTINGS), own, cores=1)


@pytest.fixture
def folders(finished: tuple[Path, Checkpoint], tmp_path: Path) -> Folders:
    """Of a copy of it."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return Folders(*(tmp_path / "copy" / name for name in ("tensorboard_logs", "checkpoints", "logfiles")))


def refused(data: TrainingData, recipe: Recipe, folders: Folders, name: str, remedy: str) -> None:
    """Look for the one sentence, and whether every checkpoint is as it was."""
    before = {path: path.read_bytes() for path in folders.checkpoints.rglob("*.ckpt")}
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(folders.checkpoints / name))}: found .*{remedy}"):
        fit(data, recipe, folders, cores=1)
    assert {path: path.read_bytes() for path in folders.checkpoints.rglob("*.ckpt")} == before


@pytest.mark.parametrize("stage", ["epochs", "localization/epochs"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_last_epoch_is_named_and_without_it_training_begins_anew(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    finished: tuple[Path, Checkpoint],
    stage: str,
    damage: Callable[[bytes], bytes],
) -> None:
    path = folders.checkpoints / stage / "last.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    refused(data, recipe(training=SETTINGS), folders, f"{stage}/last.ckpt", f"next: delete {re.escape(str(path))}, ")
    path.unlink()
    assert same(fit(data, recipe(training=SETTINGS), folders, cores=1)["state"], finished[1]["state"])


@pytest.mark.parametrize("damage", [*DAMAGES.values(), None], ids=[*DAMAGES, "gone"])
def test_a_damaged_best_epoch_is_named_and_without_its_folder_the_stage_begins_anew(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: MakeRecipe,
    finished: tuple[Path, Checkpoint],
    damage: Callable[[bytes], bytes] | None,
) -> None:
    path = folders.checkpoints / "epochs" / "best.ckpt"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    remedy = f"next: delete {re.escape(str(path.parent))}, "
    refused(data, recipe(training=SETTINGS), folders, "epochs/best.ckpt", remedy)
    shutil.rmtree(path.parent)
    assert same(fit(data, recipe(training=SETTINGS), folders, cores=1)["state"], finished[1]["state"])


def test_a_damaged_best_epoch_of_the_first_stage_is_named_where_the_second_would_start_from_it(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, finished: tuple[Path, Checkpoint]
) -> None:
    path = folders.checkpoints / "localization" / "epochs" / "best.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    shutil.rmtree(folders.checkpoints / "epochs")
    remedy = f"next: delete {re.escape(str(path.parent))}, "
    refused(data, recipe(training=SETTINGS), folders, "localization/epochs/best.ckpt", remedy)
    shutil.rmtree(path.parent)
    assert same(fit(data, recipe(training=SETTINGS), folders, cores=1)["state"], finished[1]["state"])
