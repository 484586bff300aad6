"""Predictions under the names and rules of the xView2 challenge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import UInt8Array
from xview2_siamese_unet.metrics.folders import OFFICIAL_SIDE
from xview2_siamese_unet.metrics.table import Predictions

_MOST: Final = 100_000
"""Ids have five digits."""


def number_scenes(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest of a submission: columns id (five digits, in the order of names) and scene.

    The names of the challenge have no room for those of scenes.

    Raises:
        DataError: more scenes than ids.
    """
    if len(counts) > _MOST:
        raise DataError(
            "submission",
            found=f"{len(counts)} scenes",
            allowed=f"{_MOST} at most, for ids have five digits",
            remedy="score a smaller split",
        )
    scenes = sorted(counts["scene"])
    return pd.DataFrame({"id": [f"{number:05d}" for number in range(len(scenes))], "scene": scenes})


def name_predictions(manifest: pd.DataFrame, predictions: Predictions, part: str) -> Iterator[tuple[str, UInt8Array]]:
    """Yield the stem and the codes, uint8 (1024, 1024), of both files of each scene, one scene in memory at a time.

    A predicted un-classified building stands in the localisation file and is 0 in the damage file, which has no such
    class; either way it is no hit, so the official script and our own count give the same score.

    Args:
        manifest: columns id and scene.
        predictions: scene name → loader of its predicted damage map.
        part: `test` or `hold`.

    Raises:
        DataError: a prediction of another size than the official one.
    """
    for number, scene in manifest[["id", "scene"]].astype(str).itertuples(index=False, name=None):
        codes = predictions[scene]()
        if codes.shape != (OFFICIAL_SIDE, OFFICIAL_SIDE):
            raise DataError(
                scene,
                found=f"a prediction of {codes.shape[1]} × {codes.shape[0]} pixels",
                allowed=f"{OFFICIAL_SIDE} × {OFFICIAL_SIDE}, which the official script insists on",
                remedy="predict scenes of xBD",
            )
        yield f"{part}_localization_{number}_prediction", (codes > 0).view(np.uint8)
        yield f"{part}_damage_{number}_prediction", np.where(codes == Damage.UNCLASSIFIED, np.uint8(0), codes)
