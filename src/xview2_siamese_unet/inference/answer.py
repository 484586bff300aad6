"""A trained net as a function from bytes of windows to probabilities."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xview2_siamese_unet.config.modelling import HardwareParams, Tta
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.checkpoint import prediction_of, read_weights, thresholds_of
from xview2_siamese_unet.models.postprocess import probabilities
from xview2_siamese_unet.models.predictor import predictor_of

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
_CONTEXT = 64  # pixels on each side of where the halves of a window meet
_PARTS = {"state", "model", "classes", "channels"}
_TAKE = (
    "Use the ..._best_siamese_unet_state.pth or the .safetensors file that training writes when it finishes, one "
    "folder above the epoch checkpoints."
)
_log = logging.getLogger(__name__)


class NetAnswer:
    """Bytes of both dates (b, h, w, 3) → probabilities (b, h, w, 1 + k) of background and the k damage classes.

    Args:
        checkpoint: a trained net.
        hardware: device and numbers to compute in.
        tta: views of a window whose logits are averaged; nothing: those that the checkpoint was scored with.

    Attributes:
        tta: the views.
        warnings: sentences on other views than the checkpoint was scored with, and on memory that ran out.

    Raises:
        CheckpointError: a checkpoint that does not fit.
    """

    def __init__(self, checkpoint: Mapping[str, Any], hardware: HardwareParams, *, tta: Tta | None = None) -> None:
        tuned = prediction_of(checkpoint)
        self.thresholds, self.tta = thresholds_of(checkpoint), tta or tuned.tta
        self._predict = predictor_of(checkpoint, hardware, tta=self.tta)
        self.device = self._predict.device
        self.warnings: list[str] = []
        if tuned.tta != self.tta:
            self._warn(
                f"The model was scored with test-time augmentation {tuned.tta!r} and is applied here with {tta!r}"
                " (inference.windows.tta): its scores do not hold for these results"
            )

    @property
    def usual_batch(self) -> int:
        """Windows at a time: a CPU has no use for more than one, which stays closer to its caches."""
        return 1 if self.device == "cpu" else 4

    def __call__(self, pre: ByteArray, post: ByteArray) -> FloatArray:
        """Answer; halves the batch, then the window, as long as memory runs out."""
        try:
            return self._answer(pre, post)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error) or (len(pre) == 1 and max(pre.shape[1:3]) < 4 * _CONTEXT):
                raise
        torch.cuda.empty_cache()
        count, height, width = pre.shape[:3]
        self._warn(f"out of memory with {count} windows of {height} × {width} pixels at a time: they were halved")
        return self._in_halves(pre, post)

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:  # memory runs out at every batch alike
            self.warnings.append(warning)
            _log.warning(warning)

    def _in_halves(self, pre: ByteArray, post: ByteArray) -> FloatArray:
        """Answer two halves, of the batch or else of the window; the latter see a little beyond where they meet."""
        axis = 0 if len(pre) > 1 else 1 + int(np.argmax(pre.shape[1:3]))
        context = _CONTEXT if axis else 0
        half = pre.shape[axis] // 2 if not axis else pre.shape[axis] // 64 * 32
        parts = slice(0, half + context), slice(half - context, None)
        first, second = (self(_cut(pre, axis, part), _cut(post, axis, part)) for part in parts)
        return np.concatenate([_cut(first, axis, slice(0, half)), _cut(second, axis, slice(context, None))], axis=axis)

    def _answer(self, pre: ByteArray, post: ByteArray) -> FloatArray:
        logits = self._predict(*(torch.from_numpy(date).permute(0, 3, 1, 2) for date in (pre, post)))
        answer: FloatArray = probabilities(logits).permute(0, 2, 3, 1).cpu().numpy()
        return answer


def _cut(array: npt.NDArray[Any], axis: int, part: slice) -> npt.NDArray[Any]:
    return array[(slice(None),) * axis + (part,)]


def _is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out; on a CPU torch has no error of its own for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)


def choose_model(path: Path | None, finished: dict[str, Any] | None) -> dict[str, Any]:
    """Return the checkpoint that somebody names, else the best one of the environment.

    Args:
        path: of the one that is named.
        finished: the best one, where there is any.

    Raises:
        CheckpointError: there is neither, or it is none.
    """
    if path is not None:
        return read_model(path.expanduser())
    if finished is None:
        raise CheckpointError(
            "There is no model: --model names none, and this environment has trained none.",
            hint="Name one with --model, or run kedro run with the same environment first.",
        )
    return _checked(finished, "The best model of this environment")


def read_model(path: Path) -> dict[str, Any]:
    """Return a checkpoint from a file, whatever its name; nothing in it is executed.

    Raises:
        CheckpointError: no such file, or one that is no checkpoint of this project.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'no file'}.", hint=_TAKE)
    path.open("rb").close()  # what the disk refuses is no damage, but torch raises the same for some damages
    try:
        content = read_weights(path)
    except Exception as error:  # torch and safetensors raise half a dozen kinds for one cause: a file that is not ours
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged, of another format, "
            "or holds Python objects, which are never loaded because they could run code.",
            hint=_TAKE,
        ) from error
    return _checked(content, str(path))


def _checked(content: object, name: str) -> dict[str, Any]:
    if isinstance(content, dict) and content.keys() >= _PARTS:
        return content
    raise CheckpointError(f"{name} is no checkpoint of this project: it holds {_kind(content)}.", hint=_TAKE)


def _kind(content: object) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    if "pytorch-lightning_version" in content:
        if "pretrained" not in content:
            return "a checkpoint of PyTorch Lightning from another project"
        return f"epoch {content['epoch']} of a training, to resume from"
    if content and all(isinstance(value, torch.Tensor) for value in content.values()):
        first = next(iter(content))
        return f"a bare state_dict ({len(content)} tensors, {first} the first) without the settings of a model"
    return f"a dictionary of {', '.join(map(str, [*content][:5])) or 'nothing'}"
