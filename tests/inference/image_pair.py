"""Two rasters on one grid, and their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from xview2_siamese_unet.inference.harmonise import Harmonised, harmonise
from xview2_siamese_unet.params.inference import ImageParams, InferenceParams

Write = Callable[..., Path]
Smooth = Callable[..., np.ndarray]


def pair_of(pre: Path, post: Path, **images: object) -> Harmonised:
    return harmonise(InferenceParams(pre=pre, post=post, registration="off", images=ImageParams.model_validate(images)))


def whole(harmonised: Harmonised) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = harmonised.pair.grid
    with harmonised.pair.open() as reader:
        return reader.read(0, 0, grid.height, grid.width)
