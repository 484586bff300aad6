"""The counts of one scene, taken while its pixels are in memory: integers, so that they add up exactly."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

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
    record["building_pixels"] = np.bincount(pixels[..., 6].ravel(), minlength=2)
    record["damage_pixels"] = np.bincount(pixels[..., 7].ravel(), minlength=N_CODES)
    for date, image in enumerate((pixels[..., 0:3], pixels[..., 3:6])):
        # 256 bins a channel cost less than squaring every pixel.
        bins = np.stack([np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(3)])
        record["valid_pixels"][date] = np.count_nonzero(image.any(axis=-1))
        record["channel_sums"][date] = bins @ _VALUES
        record["channel_squares"][date] = bins @ _VALUES**2
    return record
