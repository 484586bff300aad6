"""Answers for windows → finished blocks, blended where windows overlap; shapes are (rows, columns, channels)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.raster.window_plan import WindowPlan

FloatArray = npt.NDArray[np.float32]


class Stitched(NamedTuple):
    """What is known after one more window; `None` where no window looked.

    Attributes:
        block: finished values (rows, columns, channels) of the block.
        below: shares of the first rows of the block underneath (ramp, columns, channels).
    """

    block: FloatArray | None
    below: FloatArray | None


def stitch_row(
    plan: WindowPlan, i: int, answers: Iterable[FloatArray | None], above: Callable[[int], FloatArray | None]
) -> Iterator[Stitched]:
    """Yield what each window of row i finishes; memory holds two windows.

    Args:
        plan: the windows.
        i: row.
        answers: (rows, columns, channels) of each window of a row from left to right; `None` for one without data.
        above: column → `below` of the row before.
    """
    left = None
    for j, answer in enumerate(answers):
        rows, columns = (block.stop - block.start for block in plan.block(i, j))
        zone = None if answer is None else _weighted(plan, i, j, answer)
        upper, lower = _split(zone, rows)
        left_upper, left_lower = _split(left, rows)
        yield Stitched(
            _add((rows, columns), upper, left_upper, above(j)),
            _add((plan.vertical.ramp, columns), lower, left_lower),
        )
        left = None if zone is None else zone[:, columns:]


def _weighted(plan: WindowPlan, i: int, j: int, answer: FloatArray) -> FloatArray:
    weights = plan.vertical.weights(i)[:, None] * plan.horizontal.weights(j)[None, :]
    weighted: FloatArray = answer[plan.used(i, j)] * weights[..., None]
    return weighted


def _split(zone: FloatArray | None, rows: int) -> tuple[FloatArray | None, FloatArray | None]:
    return (None, None) if zone is None else (zone[:rows], zone[rows:])


def _add(shape: tuple[int, int], *parts: FloatArray | None) -> FloatArray | None:
    """Sum arrays that share their upper left corner, cut to `shape`, always in the same order."""
    there = [part for part in parts if part is not None and part.size]
    if not there:
        return None
    total = np.zeros((*shape, there[0].shape[2]), np.float32)
    for part in there:
        rows, columns = min(part.shape[0], shape[0]), min(part.shape[1], shape[1])
        total[:rows, :columns] += part[:rows, :columns]
    return total
