"""The part of a scene that is worth a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def densest_window(mask: npt.NDArray[np.bool_], side: int | None) -> tuple[slice, slice]:
    """Return rows and columns of the square that holds most of a mask; the first such one, in steps of an eighth.

    Args:
        mask: bool (h, w).
        side: side of the square in pixels; `None`, or an axis that is no longer, takes all of it.
    """
    height, width = (min(side or size, size) for size in mask.shape)
    step = max(min(height, width) // 8, 1)
    sums = np.pad(mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    tops = _starts(mask.shape[0], height, step)[:, None]
    lefts = _starts(mask.shape[1], width, step)[None]
    held = (
        sums[tops + height, lefts + width] - sums[tops, lefts + width] - sums[tops + height, lefts] + sums[tops, lefts]
    )
    row, column = np.unravel_index(held.argmax(), held.shape)
    top, left = int(tops[row, 0]), int(lefts[0, column])
    return slice(top, top + height), slice(left, left + width)


def centred_window(frame: tuple[int, ...], shape: tuple[int, int], side: int) -> tuple[slice, slice]:
    """Return rows and columns of a square around a frame, moved inside the scene, larger where the frame is.

    Args:
        frame: top, left, bottom, right in pixels.
        shape: height and width of the scene.
        side: side of the square in pixels.
    """
    top, left, bottom, right = frame
    side = max(side, bottom - top, right - left)
    starts = [
        min(max((low + high - side) // 2, 0), max(size - side, 0))
        for low, high, size in ((top, bottom, shape[0]), (left, right, shape[1]))
    ]
    rows, columns = (slice(start, min(start + side, size)) for start, size in zip(starts, shape, strict=True))
    return rows, columns


def _starts(size: int, window: int, step: int) -> npt.NDArray[np.int64]:
    # The last start touches the far edge, whatever the step.
    return np.append(np.arange(0, size - window, step), size - window)
