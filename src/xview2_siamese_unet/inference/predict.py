"""A trained net and scenes of a store → damage codes and probabilities, a few scenes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.models.checkpoint import thresholds_of, vote_weights_of
from xview2_siamese_unet.models.postprocess import decide, probabilities, scored_bytes, vote
from xview2_siamese_unet.models.predictor import predictor_of
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.probability import NO_DATA
from xview2_siamese_unet.raster.store import Store

ByteArray = npt.NDArray[np.uint8]


class SceneAnswer(NamedTuple):
    """The prediction for one scene."""

    name: str
    codes: ByteArray
    """Damage codes (h, w)."""
    probabilities: ByteArray
    """Of background and the four damage classes (5, h, w), in steps of 1/254."""


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
    predict, weights = predictor_of(checkpoint, hardware), vote_weights_of(checkpoint)
    rows = store.rows(names)
    for first in track("batches of scenes predicted", ceil(len(rows) / batch_size), range(0, len(rows), batch_size)):
        images = torch.from_numpy(store.pixels[rows[first : first + batch_size]][..., :6]).permute(0, 3, 1, 2)
        shares = probabilities(predict(images[:, :3], images[:, 3:]))
        codes, stored = decide(shares, thresholds_of(checkpoint)).cpu().numpy(), scored_bytes(shares)
        if weights is not None:
            # As in an assessment, pixels that are black in either image have no part in the vote.
            seen = ((images[:, :3] > 0).any(dim=1) & (images[:, 3:] > 0).any(dim=1)).numpy()
            voted = [vote(*scene, weights) for scene in zip(np.where(seen, codes, NO_DATA), stored, strict=True)]
            codes = np.where(seen, voted, codes)
        yield from map(SceneAnswer, names[first : first + batch_size], codes, stored)
