"""Predictions of the validation scenes, which each part of the decision rule is fitted to."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Final

import numpy as np
import torch
from torch import Tensor

from xview2_siamese_unet.models.postprocess import Logits, Temperatures, divided
from xview2_siamese_unet.models.tensors import ImageTensor, SceneTensor

_RESERVE: Final = 10**9  # bytes of disk that are left to whatever else writes
_log = logging.getLogger(__name__)
Scenes = Callable[[], Iterable[SceneTensor]]


class Predictions:
    """True codes and predictions, batch by batch; only the first pass over them runs the net.

    Args:
        net: both images, as bytes → float32 (b, k, h, w).
        scenes: returns the batches of all validation scenes of this rank, bytes (b, h, w, 8).
        file: from which later passes read, so that memory does not grow with the number of scenes; without one, or with
            an almost full disk, each pass runs the net.
    """

    def __init__(
        self, net: Callable[[ImageTensor, ImageTensor], Tensor], scenes: Scenes, file: IO[bytes] | None
    ) -> None:
        self._net, self._scenes, self._file = net, scenes, file
        self._kept, self._device = 0, torch.device("cpu")

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield codes of building and damage (b, h, w, 2), and the prediction, on the device of the net."""
        if self._file is None:
            return self._predict()
        return self._read(self._file) if self._kept else self._keep(self._file)

    def _predict(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._scenes():
            images = batch[..., :6].permute(0, 3, 1, 2)
            predicted = self._net(images[:, :3], images[:, 3:])
            yield batch[..., 6:].to(predicted.device), predicted

    def _keep(self, file: IO[bytes]) -> Iterator[tuple[Tensor, Tensor]]:
        kept = 0
        file.seek(0)
        for truth, predicted in self._predict():
            if self._file and shutil.disk_usage(file.name).free < _RESERVE:
                _log.warning("the disk is almost full: each step of the tuning predicts the validation scenes again")
                file.truncate(0)
                self._file = None
            for tensor in (truth, predicted) if self._file else ():
                np.save(file, tensor.cpu().numpy(), allow_pickle=False)
            self._device = predicted.device
            kept += 1
            yield truth, predicted
        self._kept = kept

    def _read(self, file: IO[bytes]) -> Iterator[tuple[Tensor, Tensor]]:
        file.seek(0)
        for _ in range(self._kept):
            truth, predicted = (torch.from_numpy(np.load(file, allow_pickle=False)) for _ in range(2))
            yield truth.to(self._device), predicted.to(self._device)


def join_logits(logits: Logits) -> Tensor:
    """Return the logits of both heads as one tensor."""
    return torch.cat(logits, dim=1)


def split_logits(both: Tensor, temperatures: Temperatures = Temperatures()) -> Logits:  # noqa: B008  a tuple never changes
    """Return the logits of each head, divided by its temperature."""
    return divided(Logits(both[:, :2], both[:, 2:]), temperatures)
