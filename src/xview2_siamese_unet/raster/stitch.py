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
        block: finished values (step, step, channels).
        below: shares of the first rows of the block underneath (ramp, step, channels).
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
        answers: (size, size, channels) of each window of a row from left to right, smaller where the grid ends; `None`
            for one without data.
        above: column → `below` of the row before.
    """
    step, left = plan.step, None
    for j, answer in enumerate(answers):
        zone = None if answer is None else _weighted(plan, i, j, answer)
        from_left = None if left is None else left[:, step:]
        block = _add((step, step), zone, None if from_left is None else from_left[:step], above(j))
        below = _add((plan.ramp, step), _lower(plan, zone), _lower(plan, from_left))
        yield Stitched(block, below)
        left = zone


def _weighted(plan: WindowPlan, i: int, j: int, answer: FloatArray) -> FloatArray:
    inner = slice(plan.margin, plan.margin + plan.zone)
    used = answer[inner, inner]
    weights = plan.weights(i)[: used.shape[0], None] * plan.weights(j)[None, : used.shape[1]]
    weighted: FloatArray = used * weights[..., None]
    return weighted


def _lower(plan: WindowPlan, zone: FloatArray | None) -> FloatArray | None:
    return None if zone is None else zone[plan.step :]


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
