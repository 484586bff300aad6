"""Files for `--model`: checkpoints of any name, and an error for anything else."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.inference.prediction import choose_model, read_model
from xview2_siamese_unet.models.checkpoint_file import write_safetensors

CHECKPOINT: dict[str, Any] = {
    "state": {"pre.w": torch.arange(3.0)},
    "model": {"encoder": {"name": "resnet18"}},
    "classes": {},
    "channels": {"mean": [1.0], "std": [1.0]},
    "temperatures": {"building": 2.0, "damage": 1.0},
}
WEIGHTS = OrderedDict([("conv1.weight", torch.ones(2, 3)), ("fc.bias", torch.ones(2))])
EPOCH = {"epoch": 7, "pytorch-lightning_version": "2.6.6", "state_dict": WEIGHTS}


@pytest.mark.parametrize("write", [torch.save, write_safetensors])
@pytest.mark.parametrize("name", ["e_state.pth", "e.safetensors", "model.pt", "model.ckpt", "best model (1)"])
def test_a_checkpoint_of_any_name_is_read(tmp_path: Path, write: Any, name: str) -> None:  # noqa: ANN401
    path = tmp_path / name
    write(CHECKPOINT, path)
    read = read_model(path)
    assert torch.equal(read["state"]["pre.w"], CHECKPOINT["state"]["pre.w"])
    assert {**read, "state": 0} == {**CHECKPOINT, "state": 0}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({**EPOCH, "pretrained": {}, "history": []}, "epoch 7 of a training"),
        (EPOCH, "a checkpoint of PyTorch Lightning from another project"),
        (WEIGHTS, r"a bare state_dict \(2 tensors, conv1.weight the first\)"),
        ({"state_dict": dict(WEIGHTS), "arch": "resnet18"}, "a dictionary of state_dict, arch"),
        ({}, "a dictionary of nothing"),
        ([1, 2], "a list"),
        (torch.ones(2), "a Tensor"),
    ],
    ids=["epoch", "foreign epoch", "state_dict", "dictionary", "empty", "list", "tensor"],
)
@pytest.mark.parametrize("name", ["mine.pth", "last.ckpt"])
def test_other_content_is_refused_and_described(tmp_path: Path, name: str, content: object, kind: str) -> None:
    path = tmp_path / name
    torch.save(content, path)
    refusal = rf"{name} is not a checkpoint of this project: it holds {kind}"
    with pytest.raises(CheckpointError, match=refusal) as caught:
        read_model(path)
    assert "_best_siamese_unet_state.pth" in caught.value.hint


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_foreign_safetensors_are_refused(tmp_path: Path, name: str) -> None:
    save_file(dict(WEIGHTS), tmp_path / name, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"{name} .* bare state_dict \(2 tensors"):
        read_model(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"nothing of the kind", b"\x40\x00\x00\x00\x00\x00\x00\x00{half", pickle.dumps(Path("x"))],
    ids=["empty", "truncated", "text", "truncated safetensors", "pickle"],
)
@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read as a checkpoint"):
        read_model(tmp_path / name)


def test_a_pickled_module_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"whole\.pth .*Python objects, which are never loaded"):
        read_model(tmp_path / "whole.pth")


def test_a_missing_file_and_a_folder_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pth is not a file\."):
        read_model(tmp_path / "gone.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_model(tmp_path)


def test_the_model_of_the_environment_is_checked_too() -> None:
    assert choose_model(None, CHECKPOINT) is CHECKPOINT
    with pytest.raises(CheckpointError, match="The best model of this environment is not a checkpoint"):
        choose_model(None, dict(WEIGHTS))
    with pytest.raises(CheckpointError, match="There is no model"):
        choose_model(None, None)
