"""Content of a checkpoint.

A checkpoint contains only tensors, numbers and texts, so that it loads with `weights_only=True`; see `checkpoint_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from array_api_compat import is_torch_array

from xview2_siamese_unet.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PARTS: Final = {"state", "model", "classes", "channels"}
BEST_FILE: Final = (
    "Use the ..._best_siamese_unet_state.pth or the .safetensors file that training writes when it finishes, one "
    "folder above the epoch checkpoints."
)
"""Advice on a file that is not a checkpoint."""


class Checkpoint(TypedDict):
    """A trained net, its decision rule, and its origin."""

    state: dict[str, Tensor]
    model: dict[str, Any]
    classes: dict[str, Any]
    channels: dict[str, list[float]]
    temperatures: dict[str, float]
    calibration: dict[str, float]
    thresholds: dict[str, float]
    prediction: dict[str, Any]
    pretrained: dict[str, str]
    events: list[str]
    data_fingerprint: str
    fingerprint: str
    recipe: dict[str, Any]
    dataset: str
    licence: str
    version: str
    commit: str
    epoch: int
    scores: dict[str, float]
    history: list[dict[str, float]]


def require_file(path: Path) -> None:
    """Require that the file of a checkpoint exists.

    Raises:
        CheckpointError: it does not.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'not a file'}.", hint=BEST_FILE)


def check_checkpoint(content: object, name: str) -> dict[str, Any]:
    """Return the content of a file if it is a checkpoint of this project.

    Raises:
        CheckpointError: it is anything else.
    """
    if isinstance(content, dict) and content.keys() >= _PARTS:
        return content
    raise CheckpointError(f"{name} is not a checkpoint of this project: it holds {_kind(content)}.", hint=BEST_FILE)


def _kind(content: object) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    if "pytorch-lightning_version" in content:
        if "pretrained" not in content:
            return "a checkpoint of PyTorch Lightning from another project"
        return f"epoch {content['epoch']} of a training, to resume from"
    if content and all(is_torch_array(value) for value in content.values()):
        first = next(iter(content))
        return f"a bare state_dict ({len(content)} tensors, {first} the first) without the settings of a model"
    return f"a dictionary of {', '.join(map(str, [*content][:5])) or 'nothing'}"
