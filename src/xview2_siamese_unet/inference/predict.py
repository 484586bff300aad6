"""A trained net and scenes of a store → damage codes and probabilities, a few scenes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from xview2_siamese_unet.nets.checkpoint import prediction_of, predictor_of, thresholds_of
from xview2_siamese_unet.nets.components import vote
from xview2_siamese_unet.nets.decide import decide, probabilities
from xview2_siamese_unet.params.modelling import HardwareParams
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.store import Store


class SceneAnswer(NamedTuple):
    """What a net says of one scene."""

    name: str
    codes: npt.NDArray[np.uint8]
    """Damage codes (h, w)."""
    probabilities: npt.NDArray[np.float32]
    """Of background and the four damage classes (5, h, w), sum 1."""


def predict_scenes(
    checkpoint: Mapping[str, Any], store: Store, names: Sequence[str], hardware: HardwareParams, *, batch_size: int
) -> Iterator[SceneAnswer]:
    """Yield the answer for each scene; memory does not grow with their number.

    Args:
        checkpoint: a trained net.
        store: where the scenes are.
        names: which of them.
        hardware: device and numbers to compute in.
        batch_size: scenes at a time.
    """
    predict = predictor_of(checkpoint, hardware)
    thresholds, how = thresholds_of(checkpoint), prediction_of(checkpoint)
    rows = store.rows(names)
    for first in track("batches of scenes predicted", ceil(len(rows) / batch_size), range(0, len(rows), batch_size)):
        images = torch.from_numpy(store.pixels[rows[first : first + batch_size]][..., :6]).permute(0, 3, 1, 2)
        logits = predict(images[:, :3], images[:, 3:])
        codes, shares = decide(logits, thresholds).cpu().numpy(), probabilities(logits).cpu().numpy()
        if how.vote == "connected":
            codes = np.stack([vote(*each, how.vote_weights) for each in zip(codes, shares, strict=True)])
        yield from map(SceneAnswer, names[first : first + batch_size], codes, shares)
