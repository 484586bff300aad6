"""Mean and deviation of the channels, from sums that add up exactly."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
"""Grey values 0 to 255 that ImageNet weights were trained with (torchvision, documentation of its models)."""


def channel_statistics(records: npt.NDArray[Any]) -> dict[str, dict[str, list[float]]]:
    """Return mean and standard deviation of red, green and blue: for each date, and for both together.

    Args:
        records: (n,) of `raster.store.RECORD`.

    Returns:
        `pre`, `post` and `both`, each with `mean` and `std` in grey values 0 to 255 over the pixels that hold data.
    """
    for date, pixels in zip(("pre", "post"), records["valid_pixels"].sum(axis=0), strict=True):
        if not pixels:
            logger.warning("no %s-disaster image holds data: mean 0 and deviation 1 are assumed", date)
    count, total, squares = (records[name].sum(axis=0) for name in ("valid_pixels", "channel_sums", "channel_squares"))
    return {
        "pre": _moments(count[0], total[0], squares[0]),
        "post": _moments(count[1], total[1], squares[1]),
        "both": _moments(count.sum(), total.sum(axis=0), squares.sum(axis=0)),
    }


def _moments(count: np.int64, total: npt.NDArray[np.int64], squares: npt.NDArray[np.int64]) -> dict[str, list[float]]:
    mean = total / max(int(count), 1)
    variance = squares / max(int(count), 1) - mean**2
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(variance, 1.0)).tolist()}
