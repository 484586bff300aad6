"""A pair on its grid → blocks of damage codes and probabilities, window by window; what answers is any function.

Bands of a block: probability of background and of the four damage classes in steps of 1/254, then the damage code;
255 everywhere where not both dates hold data.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xview2_siamese_unet.models.postprocess import Block, Thresholds, decide, scored_bytes, vote_blocks
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.reader import Pair, PairReader, Patch
from xview2_siamese_unet.raster.windows import BlockStore, Stitched, WindowPlan, stitch_row

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Answer = Callable[[ByteArray, ByteArray], FloatArray]
"""Bytes of both dates (b, h, w, 3) → probabilities (b, h, w, 1 + k) of background and the k damage classes."""


_log = logging.getLogger(__name__)


def predict_rows(
    pair: Pair,
    plan: WindowPlan,
    answer: Answer,
    store: BlockStore,
    batch_size: int,
    threshold: Thresholds = Thresholds(),  # noqa: B008  a tuple never changes
) -> Iterator[tuple[int, Iterator[dict[str, npt.NDArray[Any] | None]]]]:
    """Yield each row that the store does not hold yet: its number, and what each column holds, kind → array.

    A column is computed when it is asked for. Each row has to be in the store before the next one is asked for.

    The answer at a pixel does not depend on `batch_size`, on where an earlier run stopped, or on how large the grid is.

    Args:
        pair: what to look at.
        plan: windows over its grid.
        answer: the net.
        store: where the rows are kept.
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
            blocks = enumerate(_row(reader, plan, answer, store, i, batch_size))
            yield i, (_encoded(plan, i, j, *each, threshold) for j, each in blocks)


def _row(
    reader: PairReader, plan: WindowPlan, answer: Answer, store: BlockStore, i: int, batch_size: int
) -> Iterator[tuple[Stitched, Patch]]:
    """Yield what each window of a row finishes, with its pixels."""
    with store.read_row(i - 1) as before:
        patches = (reader.read(*plan.corner(i, j), *plan.extent(i, j)) for j in range(plan.columns))
        kept: deque[Patch] = deque()  # read, and not finished yet: as many as there are in a batch
        answers = _answers(plan, i, patches, answer, batch_size, kept)
        for stitched in stitch_row(plan, i, answers, lambda j: before.read("below", j)):
            yield stitched, kept.popleft()


def _encoded(
    plan: WindowPlan, i: int, j: int, stitched: Stitched, patch: Patch, threshold: Thresholds
) -> dict[str, npt.NDArray[Any] | None]:
    used, block = plan.used(i, j), plan.block(i, j)
    rows, columns = (slice(u.start, u.start + b.stop - b.start) for u, b in zip(used, block, strict=True))
    valid = patch.valid[rows, columns]
    there = stitched.block is not None and valid.any()
    codes = encode(stitched.block, valid, threshold) if there and stitched.block is not None else None
    return {"block": codes, "below": stitched.below}


def _answers(
    plan: WindowPlan, i: int, patches: Iterator[Patch], answer: Answer, batch_size: int, kept: deque[Patch]
) -> Iterator[FloatArray | None]:
    """Yield an answer for each patch; those without data in the part that is used cost nothing."""
    looked = ((patch, bool(patch.valid[plan.used(i, j)].any())) for j, patch in enumerate(patches))
    while batch := list(islice(looked, batch_size)):
        kept.extend(patch for patch, _ in batch)
        seen = [patch for patch, there in batch if there]
        given = (one for same in _by_shape(seen) for one in answer(*(np.stack(date) for date in same)))
        for _, there in batch:
            yield next(given) if there else None


def _by_shape(patches: list[Patch]) -> Iterator[tuple[tuple[ByteArray, ...], tuple[ByteArray, ...]]]:
    """Yield images before and after of neighbours of one shape: the last window of a row may be narrower."""
    for _, same in groupby(patches, key=lambda patch: patch.valid.shape):
        pre, post, _ = zip(*same, strict=True)
        yield pre, post


def encode(probabilities: FloatArray, valid: npt.NDArray[np.bool_], threshold: Thresholds) -> ByteArray:
    """Return probabilities (h, w, 1 + k) as bytes, the damage code behind them: (6, h, w), 255 where not valid."""
    shares = torch.from_numpy(np.moveaxis(probabilities, 2, 0)[None])
    block = np.concatenate([scored_bytes(shares)[0], decide(shares, threshold).numpy()])
    block[:, ~valid] = NO_DATA
    return block


@dataclass(frozen=True, slots=True)
class FinishedBlocks:
    """The blocks that hold data, row by row; they can be read more than once.

    Raises:
        StorageError: a row is not in the store.
    """

    plan: WindowPlan
    store: BlockStore

    def __iter__(self) -> Iterator[Block]:
        """Read one block at a time."""
        for i in range(self.plan.rows):
            with self.store.read_row(i) as row:
                for j in range(self.plan.columns):
                    if (block := row.read("block", j)) is not None:
                        yield Block(*self.plan.block(i, j), block[-1], block[:-1])

    def codes(self, weights: Sequence[float] | None = None) -> Iterator[tuple[slice, slice, ByteArray]]:
        """Yield rows, columns and damage codes (1, h, w), with one class in each building if there are weights."""
        plain = ((rows, columns, codes) for rows, columns, codes, _ in self)
        for rows, columns, codes in plain if weights is None else vote_blocks(self, weights):
            yield rows, columns, codes[None]

    def shares(self) -> Iterator[tuple[slice, slice, ByteArray]]:
        """Yield rows, columns and probabilities (5, h, w) in steps of 1/254."""
        return ((rows, columns, shares) for rows, columns, _, shares in self)
