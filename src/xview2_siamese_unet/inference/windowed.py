"""A pair on its grid → blocks of probabilities and codes, window by window; what answers is any function.

Bands of a block: probability of background and of the four damage classes in steps of 1/254, then the damage code;
255 everywhere where not both dates hold data.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.nets.thresholds import Thresholds
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.grid_cog import NO_DATA
from xview2_siamese_unet.raster.probability import BANDS, as_bytes
from xview2_siamese_unet.raster.stitch import Stitched, stitch_row
from xview2_siamese_unet.raster.stitch_store import BlockStore
from xview2_siamese_unet.raster.window_pair import Pair, PairReader, Patch
from xview2_siamese_unet.raster.window_plan import WindowPlan

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Answer = Callable[[ByteArray, ByteArray], FloatArray]
"""Bytes of both dates (b, h, w, 3) → probabilities (b, h, w, 5) of background and the four damage classes."""


_log = logging.getLogger(__name__)


def predict_pair(
    pair: Pair,
    plan: WindowPlan,
    answer: Answer,
    store: BlockStore,
    batch_size: int,
    threshold: Thresholds = Thresholds(),  # noqa: B008  a tuple never changes
) -> None:
    """Fill the store with all rows of blocks that it does not hold yet.

    The answer at a pixel does not depend on `batch_size`, on where an earlier run stopped, or on how large the grid is.

    Args:
        pair: what to look at.
        plan: windows over its grid.
        answer: the net.
        store: where blocks go.
        batch_size: windows at a time.
        threshold: what counts as building.
    """
    waiting = [i for i in range(plan.rows) if not store.has_row(i)]
    if len(waiting) < plan.rows:
        _log.info(
            "taking up an assessment that was stopped: %d of %d rows are done", plan.rows - len(waiting), plan.rows
        )
    with pair.open() as reader:
        for i in track("rows assessed", len(waiting), waiting):
            blocks = _row(reader, plan, answer, store, i, batch_size)
            store.write_row(i, (_encoded(plan, i, j, *each, threshold) for j, each in enumerate(blocks)))


def _row(
    reader: PairReader, plan: WindowPlan, answer: Answer, store: BlockStore, i: int, batch_size: int
) -> Iterator[tuple[Stitched, Patch]]:
    """Yield what each window of a row finishes, with its pixels."""
    with store.read_row(i - 1) as before:
        patches = (reader.read(*plan.corner(i, j), *plan.extent(i, j)) for j in range(plan.columns))
        kept: deque[Patch] = deque()  # read, and not finished yet: as many as there are in a batch
        answers = _answers(plan, patches, answer, batch_size, kept)
        for stitched in stitch_row(plan, i, answers, lambda j: before.read("below", j)):
            yield stitched, kept.popleft()


def _encoded(
    plan: WindowPlan, i: int, j: int, stitched: Stitched, patch: Patch, threshold: Thresholds
) -> dict[str, npt.NDArray[Any] | None]:
    valid = _block_of(plan, i, j, patch.valid)
    there = stitched.block is not None and valid.any()
    block = encode(stitched.block, valid, threshold) if there and stitched.block is not None else None
    return {"block": block, "below": stitched.below}


def _answers(
    plan: WindowPlan, patches: Iterator[Patch], answer: Answer, batch_size: int, kept: deque[Patch]
) -> Iterator[FloatArray | None]:
    """Yield an answer for each patch; those without data in the part that is used cost nothing."""
    used = slice(plan.margin, plan.margin + plan.zone)
    while batch := list(islice(patches, batch_size)):
        kept.extend(batch)
        seen = [patch for patch in batch if patch.valid[used, used].any()]
        given = (one for same in _by_shape(seen) for one in answer(*(np.stack(date) for date in same)))
        for patch in batch:
            yield next(given) if patch.valid[used, used].any() else None


def _by_shape(patches: list[Patch]) -> Iterator[tuple[tuple[ByteArray, ...], tuple[ByteArray, ...]]]:
    """Yield images before and after of neighbours of one shape: the last window of a row may be narrower."""
    for _, same in groupby(patches, key=lambda patch: patch.valid.shape):
        pre, post, _ = zip(*same, strict=True)
        yield pre, post


def _block_of(plan: WindowPlan, i: int, j: int, window: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows, columns = plan.block(i, j)
    first = plan.margin
    return window[first : first + rows.stop - rows.start, first : first + columns.stop - columns.start]


def encode(probabilities: FloatArray, valid: npt.NDArray[np.bool_], threshold: Thresholds) -> ByteArray:
    """Return probabilities (≥ h, ≥ w, 5) as bytes, the damage code behind them: (6, h, w), 255 where not valid (h, w).

    A pixel is of its most likely damage class where that is likely enough to be a building at all.
    """
    height, width = valid.shape
    shares = probabilities[:height, :width]
    block = np.empty((len(BANDS) + 1, height, width), np.uint8)
    block[:-1] = np.moveaxis(as_bytes(shares), 2, 0)
    codes = shares[..., 1:].argmax(axis=2) + int(Damage.NO_DAMAGE)
    least = np.where(codes > Damage.NO_DAMAGE, min(threshold), threshold.building)
    block[-1] = np.where(1 - shares[..., 0] > least, codes, int(Damage.BACKGROUND))
    block[:, ~valid] = NO_DATA
    return block


def finished_blocks(plan: WindowPlan, store: BlockStore, bands: slice) -> Iterator[tuple[slice, slice, ByteArray]]:
    """Yield rows, columns and some bands of each block that holds data.

    Raises:
        StorageError: a row is not in the store.
    """
    for i in range(plan.rows):
        with store.read_row(i) as row:
            for j, block in enumerate(row.columns("block", plan.columns)):
                if block is not None:
                    yield *plan.block(i, j), block[bands]
