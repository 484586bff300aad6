"""The counts of one scene, taken while its pixels are in memory: integers, so that they add up exactly."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from xview2_siamese_unet.damage import N_CODES

ByteArray = npt.NDArray[np.uint8]
RECORD: Final = np.dtype(
    [
        ("key", "S32"),
        ("building_pixels", "<i8", (2,)),
        ("damage_pixels", "<i8", (N_CODES,)),
        ("valid_pixels", "<i8", (2,)),
        ("channel_sums", "<i8", (2, 3)),
        ("channel_squares", "<i8", (2, 3)),
    ]
)
"""Key of what the pixels were made from, and counts; the first axis of the last three is (pre, post).

`valid_pixels` leaves out black ones, which hold no data; sums and squares of grey values need no such care.
"""
_VALUES: Final = np.arange(256, dtype=np.int64)


def count_scene(pixels: ByteArray) -> npt.NDArray[Any]:
    """Return the record of one scene without its key.

    Args:
        pixels: (h, w, 8) as in the store.
    """
    record = np.zeros((), RECORD)
    bins = _histograms(pixels)
    record["building_pixels"] = bins[6, :2]
    record["damage_pixels"] = bins[7, :N_CODES]
    record["channel_sums"] = (bins[:6] @ _VALUES).reshape(2, 3)
    record["channel_squares"] = (bins[:6] @ _VALUES**2).reshape(2, 3)
    for date, (red, green, blue) in enumerate((range(3), range(3, 6))):
        record["valid_pixels"][date] = np.count_nonzero(pixels[..., red] | pixels[..., green] | pixels[..., blue])
    return record


def _histograms(pixels: ByteArray) -> npt.NDArray[np.int64]:
    """Return how often each value stands in each channel, (8, 256).

    Pillow counts bytes as they are; `np.bincount` would first make an integer of eight bytes of each.
    """
    halves = (Image.fromarray(np.ascontiguousarray(pixels[..., part])) for part in (slice(0, 4), slice(4, 8)))
    return np.array([half.histogram() for half in halves], np.int64).reshape(8, 256)
