"""What a training resumes from: the finished checkpoint, or else `last.ckpt`; the weights of `best.ckpt` count."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from xview2_siamese_unet.errors import CheckpointError

STATE: Final = "_best_siamese_unet_state.pth"
"""Ending of the checkpoint that a finished training has."""
_log = logging.getLogger(__name__)


def finished_checkpoint(checkpoints: Path) -> dict[str, Any] | None:
    """Return what a finished training left, `None` where it has not ended.

    Args:
        checkpoints: folder of the checkpoint, in which the epochs have one of their own.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = next(checkpoints.glob(f"*{STATE}"), None)
    return _read(path, delete=path, holds="state") if path else None


def last_epoch(epochs: Path) -> Path | None:
    """Return the checkpoint of the last epoch, `None` where none has ended.

    Args:
        epochs: folder of one stage.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = epochs / "last.ckpt"
    if not path.exists():
        return None
    _log.info("training resumes after epoch %d of %s", _read(path, delete=path)["epoch"], path)
    return path


def best_epoch(epochs: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the weights of the net in the best epoch, and which pretrained weights they started from.

    Args:
        epochs: folder of one stage.

    Raises:
        CheckpointError: the file is damaged or gone.
    """
    # Not the file alone: the last epoch knows how good the best one was, and no later one would be kept in its place.
    found = _read(epochs / "best.ckpt", delete=epochs)
    weights = found["state_dict"]
    net = {name.removeprefix("net."): value for name, value in weights.items() if name.startswith("net.")}
    return net, found["pretrained"]


def _read(path: Path, *, delete: Path, holds: str = "state_dict") -> dict[str, Any]:
    if not path.exists():
        raise _damaged(path, "no file", delete)
    path.open("rb").close()  # what the disk refuses is no damage, but torch raises the same for some damages
    try:
        found: object = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for one cause: a damaged file
        raise _damaged(path, f"a damaged file of {path.stat().st_size} bytes", delete) from error
    if not isinstance(found, dict) or holds not in found:
        raise _damaged(path, f"a file without weights ({type(found).__name__})", delete)
    return found


def _damaged(path: Path, found: str, delete: Path) -> CheckpointError:
    return CheckpointError(
        str(path),
        found=found,
        allowed="a checkpoint as training writes it",
        remedy=f"delete {delete}, and training resumes from what is left when you run again",
    )
