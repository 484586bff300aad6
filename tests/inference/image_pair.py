"""Two rasters on one grid, and their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from xview2_siamese_unet.config.inference import ImageParams, InferenceParams
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise
from xview2_siamese_unet.inference.prediction import Predict, predict_rows
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

Write = Callable[..., Path]
Smooth = Callable[..., np.ndarray]


def pair_of(pre: Path, post: Path, **images: object) -> HarmonisedPair:
    return harmonise(InferenceParams(pre=pre, post=post, registration="off", images=ImageParams.model_validate(images)))


def whole(harmonised: HarmonisedPair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = harmonised.pair.grid
    with harmonised.pair.open() as reader:
        return reader.read(0, 0, grid.height, grid.width)


def fill(pair: Pair, plan: WindowPlan, answer: Predict, store: BlockStore, batch_size: int) -> None:
    """Predict every row that the store does not hold yet, as the pipeline does."""
    for number, columns in predict_rows(pair, plan, answer, store, batch_size):
        store.write_row(number, columns)
