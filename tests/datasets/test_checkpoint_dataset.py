"""The dataset of a checkpoint: formats, damaged and hostile files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DatasetError

from xview2_siamese_unet.datasets.checkpoint import CheckpointDataset
from xview2_siamese_unet.errors import CheckpointError, StorageError, cause_of

CONTENT = {"state": {"w": torch.arange(3.0)}, "epoch": 4, "scores": {"validation_score": 0.5}, "words": ["a"]}


def load_fails(dataset: CheckpointDataset) -> CheckpointError:
    with pytest.raises((CheckpointError, DatasetError)) as caught:
        dataset.load()
    error = caught.value if isinstance(caught.value, CheckpointError) else caught.value.__cause__
    assert isinstance(error, CheckpointError)
    return error


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "deep" / "x.pth"), metadata={"kedro-viz": {}})
    assert not dataset.exists()
    dataset.save(CONTENT)
    loaded = dataset.load()
    assert dataset.exists()
    assert torch.equal(loaded["state"]["w"], CONTENT["state"]["w"])
    assert {**loaded, "state": 0} == {**CONTENT, "state": 0}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.pth"]
    assert "x.pth" in str(dataset)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("through_torch", [True, False])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, through_torch: bool) -> None:
    path, trace = tmp_path / "x.pth", tmp_path / "trace"
    if through_torch:
        torch.save({"state": Hostile(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile(trace)))
    error = load_fails(CheckpointDataset(filepath=str(path), optional=True))
    assert "cannot be trusted" in error.message
    assert not trace.exists()


def test_a_missing_file_is_an_error_unless_it_is_optional(tmp_path: Path) -> None:
    path = str(tmp_path / "x.pth")
    assert "does not exist" in load_fails(CheckpointDataset(filepath=path)).message
    assert CheckpointDataset(filepath=path, optional=True).load() is None


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("kept", [0, 100, 5000, -1])
def test_the_hint_for_a_damaged_file_is_to_delete_it(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    CheckpointDataset(filepath=str(path)).save({**CONTENT, "state": {"w": torch.zeros(9999)}})
    path.write_bytes(path.read_bytes()[:kept])
    error = load_fails(CheckpointDataset(filepath=str(path), optional=True))
    assert error.message.startswith(str(path))
    assert error.hint.startswith(f"Delete {path}, ")


def test_a_file_that_cannot_be_opened_is_not_reported_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.pth").mkdir()
    with pytest.raises(DatasetError) as caught:
        CheckpointDataset(filepath=str(tmp_path / "x.pth"), optional=True).load()
    assert isinstance(cause_of(caught.value), StorageError)


def test_a_failed_save_keeps_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "x.pth"))
    dataset.save({"epoch": 1})

    def broken(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", broken)
        with pytest.raises(DatasetError):
            dataset.save({"epoch": 2})
    assert dataset.load() == {"epoch": 1}


def test_safetensors_hold_the_whole_checkpoint_and_shared_weights_once(tmp_path: Path) -> None:
    shared = torch.rand(64, 64).to(memory_format=torch.contiguous_format)
    image = torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last)
    state = {"pre.w": shared, "post.w": shared, "head.w": image, "n": torch.tensor(3)}
    content = {**CONTENT, "state": state, "history": [{"epoch": 0, "train_loss": 0.1}]}
    dataset = CheckpointDataset(filepath=str(tmp_path / "x.safetensors"))
    dataset.save(content)
    loaded = dataset.load()
    assert list(loaded["state"]) == list(state)
    assert all(torch.equal(loaded["state"][name], value) for name, value in state.items())
    assert {**loaded, "state": 0} == {**content, "state": 0}
    assert (tmp_path / "x.safetensors").stat().st_size < 1.5 * shared.nbytes


def test_a_pickle_named_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps(CONTENT["words"]))
    assert "cannot be trusted" in load_fails(CheckpointDataset(filepath=str(path))).message
