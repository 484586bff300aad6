"""Checkpoints of epochs and of finished trainings, and the fingerprint of a training.

A training resumes from `last.ckpt`; the finished checkpoint has the weights of `best.ckpt`.
"""

from __future__ import annotations

import logging
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, Final

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.provenance import code_digest

STATE: Final = "_best_siamese_unet_state.pth"
"""Ending of the name of a finished checkpoint."""
_log = logging.getLogger(__name__)


def data_fingerprint(data: TrainingData) -> str:
    """Return a digest of the scenes, their splits, and all numbers computed from them."""
    digest = blake2b(digest_size=16)
    for names in (data.train, data.validation):
        rows = data.store.rows(names)
        digest.update("\n".join(names).encode() + data.store.records[rows]["key"].tobytes())
    digest.update(repr((data.sample_weights, data.class_weights, data.channels)).encode())
    return digest.hexdigest()


def training_fingerprint(data: TrainingData, recipe: Recipe) -> str:
    """Return a digest of settings, scenes, first weights and code."""
    without: dict[str, bool | set[str]] = {"dataloader": True, "hardware": True, "training": {"reuse", "lr_find"}}
    digest = blake2b(code_digest("training.trainer").encode(), digest_size=16)
    digest.update(recipe.model_dump_json(exclude=without).encode() + data_fingerprint(data).encode())
    weights = recipe.model.encoder.weights
    if weights.source == "file" and weights.path is not None and weights.path.is_file():
        with weights.path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()


def finished_checkpoint(checkpoints: Path) -> dict[str, Any] | None:
    """Return the checkpoint of a finished training in a folder, or `None`.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = next(checkpoints.glob(f"*{STATE}"), None)
    return _read(path, delete=path, key="state", mapped=False) if path else None  # the caller saves it again


def last_epoch(epochs: Path) -> Path | None:
    """Return the checkpoint of the last epoch, `None` if no epoch has ended.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = epochs / "last.ckpt"
    if not path.exists():
        return None
    _log.info("training resumes after epoch %d of %s", _read(path, delete=path)["epoch"], path)
    return path


def best_weights(epochs: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the net's weights in the best epoch, and the origin of its first weights.

    Raises:
        CheckpointError: the file is damaged or missing.
    """
    # The hint is to delete the folder: last.ckpt has the best score, so no later epoch would replace a missing file.
    checkpoint = _read(epochs / "best.ckpt", delete=epochs)
    weights = checkpoint["state_dict"]
    net = {name.removeprefix("net."): value for name, value in weights.items() if name.startswith("net.")}
    return net, checkpoint["pretrained"]


def _read(path: Path, *, delete: Path, key: str = "state_dict", mapped: bool = True) -> dict[str, Any]:
    # Windows does not replace a file that is mapped.
    hint = f"Delete {delete} and run again: training resumes from what is left."
    if not path.exists():
        raise CheckpointError(f"{path} is missing.", hint=hint)
    path.open("rb").close()  # raises errors of the disk, which torch would report as a damaged file
    try:
        checkpoint: object = torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except Exception as error:  # torch raises half a dozen classes for a damaged file
        raise CheckpointError(f"{path} is damaged ({path.stat().st_size} bytes).", hint=hint) from error
    if not isinstance(checkpoint, dict) or key not in checkpoint:
        raise CheckpointError(f"{path} holds no weights ({type(checkpoint).__name__}).", hint=hint)
    return checkpoint


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, which also resumes in a folder that was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an earlier run with the paths of this one."""
        # With the old paths, Lightning would take the next epoch for the best.
        here = {name: self._here(path) for name, path in state_dict.items() if name.endswith("model_path")}
        best = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | here | {"dirpath": self.dirpath, "best_k_models": best})

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath), Path(path).name)) if path else path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file, then renames it, so that a killed run leaves no partial file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Save a checkpoint."""
        with whole_file(Path(path)) as part:
            torch.save(checkpoint, part)
