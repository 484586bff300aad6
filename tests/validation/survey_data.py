"""Makes survey data from predicted and true classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.buildings import SHARES


def assessed(codes: Sequence[int | None], confidence: Sequence[float] | float = 0.9) -> pd.DataFrame:
    """Return buildings b0, b1, ... with these predicted classes; `None` is no prediction."""
    confidences = np.broadcast_to(np.asarray(confidence, float), len(codes))
    shares = np.repeat(((1 - confidences) / 3)[:, None], 4, axis=1)
    for row, code in enumerate(codes):
        shares[row] = np.nan if code is None else shares[row]
        if code is not None:
            shares[row, code - 1] = confidences[row]
    columns = {
        "building_id": [f"b{number}" for number in range(len(codes))],
        "status": ["assessed" if code else "not_assessed" for code in codes],
        "reason": [None if code else "no model" for code in codes],
        "damage": pd.array([pd.NA if code is None else code for code in codes], dtype="Int8"),
    }
    return pd.DataFrame(columns).assign(**dict(zip(SHARES, shares.T, strict=True)))


def stratified_by_class(
    sizes: Mapping[int, int], matrix: Mapping[int, Sequence[int]]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], pd.DataFrame]:
    """Return population, buildings, ids of the sample, and labels; strata are the predicted classes.

    Args:
        sizes: predicted class → buildings.
        matrix: predicted class → labels of classes 1 to 4.
    """
    codes = [code for code, size in sizes.items() for _ in range(size)]
    buildings = assessed(codes)
    population = buildings[["building_id"]].assign(stratum=[Damage(code).word for code in codes])
    ids, labels = [], []
    for code, counts in matrix.items():
        rows = buildings["building_id"][buildings["damage"] == code].iloc[: sum(counts)]
        ids += list(rows)
        labels += [true for true, count in enumerate(counts, start=1) for _ in range(count)]
    table = pd.DataFrame({"building_id": ids, "damage": pd.array(labels, dtype="Int8")})
    return population, buildings, ids, table
