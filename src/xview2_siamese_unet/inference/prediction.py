"""Predictions of a model: for scenes of a store, and for a pair of rasters by windows.

Bands of a block of a raster: probability of background and of the four damage classes in steps of 1/254, then the
damage code; 255 where either image has no data.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from xview2_siamese_unet.config.modelling import HardwareParams, Tta
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.checkpoint import check_checkpoint
from xview2_siamese_unet.models.machine import free_gpu_memory, is_out_of_memory
from xview2_siamese_unet.models.postprocess import (
    Thresholds,
    decide,
    prediction_of,
    scored_bytes,
    thresholds_of,
    to_numpy,
    vote_weights_of,
)
from xview2_siamese_unet.models.trained import TrainedModel, read_model
from xview2_siamese_unet.models.vote import vote
from xview2_siamese_unet.parallel import read_ahead
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.reader import Pair, PairReader, Patch
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.raster.windows import BlockStore, Stitched, WindowPlan, read_block, stitch_row
from xview2_siamese_unet.types import (
    AnyArray,
    Bands,
    Images,
    Mask,
    Probabilities,
    Valid,
    WindowPrediction,
    WindowPredictions,
)

Predict = Callable[[Images, Images], WindowPredictions]
"""Both images of some windows → probabilities of background and the damage classes."""
_CONTEXT: Final = 64  # pixels on each side of where the halves of a window meet
_log = logging.getLogger(__name__)


class ScenePrediction(NamedTuple):
    """Damage codes and probabilities of a scene."""

    name: str
    codes: Mask
    probabilities: Probabilities


def predict_scenes(
    checkpoint: Mapping[str, Any], store: Store, names: Sequence[str], hardware: HardwareParams, *, batch_size: int
) -> Iterator[ScenePrediction]:
    """Yield the prediction for each scene; memory is bounded by `batch_size` scenes.

    Args:
        checkpoint: or a card, see `read_model`.
        store: pixels of the scenes.
        names: of the scenes.
        hardware: device and precision.
        batch_size: scenes at a time.
    """
    predict, weights = TrainedModel(checkpoint, hardware), vote_weights_of(checkpoint)
    rows = store.rows(names)
    for first in track(
        "batches of scenes predicted", math.ceil(len(rows) / batch_size), range(0, len(rows), batch_size)
    ):
        images = np.moveaxis(store.pixels[rows[first : first + batch_size]][..., :6], 3, 1)
        shares = predict(images[:, :3], images[:, 3:])
        codes, stored = to_numpy(decide(shares, thresholds_of(checkpoint))), scored_bytes(shares)
        if weights is not None:
            # As in an assessment, pixels that are black in either image have no part in the vote.
            valid = (images[:, :3] > 0).any(axis=1) & (images[:, 3:] > 0).any(axis=1)
            voted = [vote(*scene, weights) for scene in zip(np.where(valid, codes, NO_DATA), stored, strict=True)]
            codes = np.where(valid, voted, codes)
        yield from map(ScenePrediction, names[first : first + batch_size], codes, stored)


class WindowPredictor:
    """Predict windows with a trained model; if memory runs out, halve the batch, then the window.

    Attributes:
        tta: test-time augmentation, by default that of the scores of the checkpoint.
        thresholds: of the checkpoint.
        vote_weights: class weights of its vote within a building; `None` without a vote.
        warnings: about an unused GPU, augmentation that differs from that of the scores, and memory that ran out.

    Raises:
        CheckpointError: a checkpoint that does not fit, or a member of a card that cannot be used.
    """

    def __init__(self, checkpoint: Mapping[str, Any], hardware: HardwareParams, *, tta: Tta | None = None) -> None:
        tuned = prediction_of(checkpoint)
        self.thresholds, self.vote_weights = thresholds_of(checkpoint), vote_weights_of(checkpoint)
        self.tta = tta or tuned.tta
        self._model = TrainedModel(checkpoint, hardware, tta=self.tta)
        self.device = self._model.device
        self.warnings = [*self._model.warnings]  # already logged when the device was chosen
        if tuned.tta != self.tta:
            self._warn(
                f"The model was scored with test-time augmentation {tuned.tta!r} and is applied here with {tta!r}"
                " (inference.windows.tta): its scores do not hold for these results"
            )

    _too_large: float = math.inf  # size of a batch that ran out of memory: none as large is tried again

    @property
    def usual_batch(self) -> int:
        """Windows at a time: on a CPU, more than one would not fit in its caches."""
        return 1 if self.device == "cpu" else 4

    def __call__(self, pre: Images, post: Images) -> WindowPredictions:
        """Return probabilities; see `Predict`."""
        smallest = len(pre) == 1 and max(pre.shape[1:3]) < 4 * _CONTEXT
        if pre.size >= self._too_large and not smallest:
            return self._predict_halves(pre, post)
        try:
            return self._predict(pre, post)
        except (RuntimeError, MemoryError) as error:
            if smallest or not is_out_of_memory(error):
                raise
        free_gpu_memory()
        self._too_large = pre.size
        count, height, width = pre.shape[:3]
        self._warn(f"out of memory with {count} windows of {height} × {width} pixels at a time: they were halved")
        return self._predict_halves(pre, post)

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:  # memory may run out at every batch
            self.warnings.append(warning)
            _log.warning(warning)

    def _predict_halves(self, pre: Images, post: Images) -> WindowPredictions:
        """Predict halves of the batch, else of the window, with context where these meet."""
        axis = 0 if len(pre) > 1 else 1 + int(np.argmax(pre.shape[1:3]))
        context = _CONTEXT if axis else 0
        half = pre.shape[axis] // 64 * 32 if axis else pre.shape[axis] // 2
        parts = slice(0, half + context), slice(half - context, None)
        first, second = (self(_cut(pre, axis, part), _cut(post, axis, part)) for part in parts)
        return np.concatenate([_cut(first, axis, slice(0, half)), _cut(second, axis, slice(context, None))], axis=axis)

    def _predict(self, pre: Images, post: Images) -> WindowPredictions:
        shares = to_numpy(self._model(*(np.moveaxis(image, 3, 1) for image in (pre, post))))
        return np.moveaxis(shares, 1, 3)


def _cut(array: AnyArray, axis: int, part: slice) -> AnyArray:
    return array[(slice(None),) * axis + (part,)]


def predict_rows(
    pair: Pair,
    plan: WindowPlan,
    predict: Predict,
    store: BlockStore,
    batch_size: int,
    thresholds: Thresholds = Thresholds(),  # noqa: B008  a tuple never changes
) -> Iterator[tuple[int, Iterator[dict[str, AnyArray | None]]]]:
    """Yield each row that is not in the store yet: its number, and for each column kind → array.

    A column is computed when it is asked for. Each row has to be in the store before the next one is asked for. The
    prediction at a pixel does not depend on `batch_size`, on where an earlier run stopped, or on the size of the grid.
    """
    waiting = [i for i in range(plan.rows) if not store.has_row(i)]
    if len(waiting) < plan.rows:
        _log.info(
            "resuming an assessment that was stopped: %d of %d rows are done", plan.rows - len(waiting), plan.rows
        )
    with pair.open() as reader:
        for i in track("rows assessed", len(waiting), waiting):
            # Reading, predicting and writing overlap.
            with closing(read_ahead(_predict_row(reader, plan, predict, store, i, batch_size), 1)) as row:
                yield i, (_encode_block(plan, i, j, *each, thresholds) for j, each in enumerate(row))


def _predict_row(
    reader: PairReader, plan: WindowPlan, predict: Predict, store: BlockStore, i: int, batch_size: int
) -> Generator[tuple[Stitched, Patch], None, None]:
    """Yield the parts that each window of a row finishes, with its pixels."""
    windows = (reader.read(*plan.corner(i, j), *plan.extent(i, j)) for j in range(plan.columns))
    with store.read_row(i - 1) as before, closing(read_ahead(windows, batch_size)) as patches:
        waiting: deque[Patch] = deque()  # read, and not finished yet: as many as there are in a batch
        predictions = _predict_patches(plan, i, patches, predict, batch_size, waiting)
        for stitched in stitch_row(plan, i, predictions, lambda j: read_block(before, "below", j)):
            yield stitched, waiting.popleft()


def _predict_patches(
    plan: WindowPlan, i: int, patches: Iterator[Patch], predict: Predict, batch_size: int, waiting: deque[Patch]
) -> Iterator[WindowPrediction | None]:
    """Yield a prediction for each patch; those without data in the used part are skipped."""
    read = ((patch, bool(patch.valid[plan.used(i, j)].any())) for j, patch in enumerate(patches))
    while batch := list(islice(read, batch_size)):
        waiting.extend(patch for patch, _ in batch)
        # The last window of a row may be narrower: only neighbours of one shape go together.
        shapes = groupby((patch for patch, has_data in batch if has_data), key=lambda patch: patch.valid.shape)
        stacks = ([np.stack(images) for images in zip(*same, strict=True)] for _, same in shapes)
        predictions = (one for pre, post, _ in stacks for one in predict(pre, post))
        for _, has_data in batch:
            yield next(predictions) if has_data else None


def _encode_block(
    plan: WindowPlan, i: int, j: int, stitched: Stitched, patch: Patch, thresholds: Thresholds
) -> dict[str, AnyArray | None]:
    used, block = plan.used(i, j), plan.block(i, j)
    rows, columns = (slice(u.start, u.start + b.stop - b.start) for u, b in zip(used, block, strict=True))
    valid = patch.valid[rows, columns]
    codes = encode(stitched.block, valid, thresholds) if stitched.block is not None and valid.any() else None
    return {"block": codes, "below": stitched.below}


def encode(shares: WindowPrediction, valid: Valid, thresholds: Thresholds) -> Bands:
    """Return probabilities as the six bands of a block."""
    pixels = np.moveaxis(shares, 2, 0)[None]
    block = np.concatenate([scored_bytes(pixels)[0], decide(pixels, thresholds)])
    block[:, ~valid] = NO_DATA
    return block


def choose_model(path: Path | None, finished: dict[str, Any] | None) -> dict[str, Any]:
    """Return the checkpoint or card at a path if one is given, else the best checkpoint of the environment.

    Raises:
        CheckpointError: there is neither, or it cannot be used.
        ConfigError: a card with unknown keys or values.
    """
    if path is not None:
        return read_model(path.expanduser())
    if finished is None:
        raise CheckpointError(
            "There is no model: --model is not set, and this environment has no trained one.",
            hint="Name one with --model, or run kedro run with the same environment first.",
        )
    return check_checkpoint(finished, "The best model of this environment")
