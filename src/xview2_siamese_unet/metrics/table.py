"""Counts of many scenes as a table: one row a scene, so that any grouping or resampling of scenes is a sum of rows.

Columns: `scene`, `split`, `disaster`, `disaster_type`, then 4 + 36 int64 counts of pixels. `localization_0_1` counts
truth background predicted as building; `damage_4_2` counts truth code 4 (destroyed) predicted as code 2 (minor-damage).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import Counts, IntArray, UInt8Array, count_scene
from xview2_siamese_unet.raster.store import Store

LOCALIZATION_COLUMNS: Final = [f"localization_{truth}_{found}" for truth in range(2) for found in range(2)]
DAMAGE_COLUMNS: Final = [f"damage_{truth}_{found}" for truth in range(N_CODES) for found in range(N_CODES)]
COUNT_COLUMNS: Final = [*LOCALIZATION_COLUMNS, *DAMAGE_COLUMNS]

Predictions = Mapping[str, Callable[[], UInt8Array]]
"""Scene name → loader of its predicted damage map, uint8 (h, w)."""


def count_scenes(
    predictions: Predictions, store: Store, scenes: pd.DataFrame, splits: pd.DataFrame, split: str
) -> pd.DataFrame:
    """Return the table of counts of every scene of a split, sorted by name; holds one scene in memory at a time.

    Predictions of other scenes, such as an earlier run left behind, are not looked at.

    Args:
        predictions: scene name → loader of its predicted damage map.
        store: truth of the scenes.
        scenes: columns scene, disaster, disaster_type.
        splits: columns scene, split.
        split: the split to score, all of it.

    Raises:
        DataError: the split holds no scene, or one that is not predicted, or that the tables do not list exactly once.
    """
    wanted = splits.loc[splits["split"] == split, ["scene", "split"]]
    table = wanted.merge(scenes[["scene", "disaster", "disaster_type"]], on="scene", how="left")
    table = table.sort_values("scene", ignore_index=True)
    _check(table, split, predictions)
    rows = np.array(list(_rows(list(table["scene"]), predictions, store)))
    return table.join(pd.DataFrame(rows, columns=COUNT_COLUMNS))


def total(table: pd.DataFrame) -> Counts:
    """Return the sum of all rows of a table of counts."""
    return _counts(table[COUNT_COLUMNS].to_numpy(np.int64).sum(axis=0))


def total_by(table: pd.DataFrame, column: str) -> dict[str, Counts]:
    """Return the sums of the rows that share a value of `column`, such as `disaster`, sorted by that value."""
    return {str(value): total(rows) for value, rows in table.groupby(column, sort=True, observed=True)}


def each(table: pd.DataFrame) -> dict[str, Counts]:
    """Return the counts of each scene, in the order of the rows."""
    values = table[COUNT_COLUMNS].to_numpy(np.int64)
    return dict(zip(table["scene"].astype(str), map(_counts, values), strict=True))


def fingerprint(table: pd.DataFrame) -> str:
    """Return a text that changes with the scenes of a table and with their truth, and with no prediction."""
    values = table.sort_values("scene")[COUNT_COLUMNS].to_numpy(np.int64)
    truth = np.hstack(
        [values[:, :4].reshape(-1, 2, 2).sum(axis=2), values[:, 4:].reshape(-1, N_CODES, N_CODES).sum(axis=2)]
    )
    return blake2b(
        "\n".join(sorted(table["scene"])).encode() + truth.astype("<i8").tobytes(), digest_size=16
    ).hexdigest()


def row_of(counts: Counts) -> IntArray:
    """Return counts in the order of `COUNT_COLUMNS`, int64 (40,)."""
    return np.concatenate([counts.localization.ravel(), counts.damage.ravel()])


def _check(table: pd.DataFrame, split: str, predictions: Predictions) -> None:
    if table.empty:
        raise DataError(
            f"split {split}",
            found="no scene",
            allowed="one scene at least",
            remedy="change data_processing.split, or score another split (reporting.split)",
        )
    for problem, rows in (
        ("a scene that stands more than once in the tables of scenes and splits", table["scene"].duplicated()),
        ("a scene that the table of scenes does not list", table["disaster"].isna()),
        ("a scene without a prediction", ~table["scene"].isin(list(predictions))),
    ):
        if rows.any():
            raise DataError(
                str(table.loc[rows, "scene"].iloc[0]),
                found=f"{problem} ({rows.sum()} of {len(table)} in split {split})",
                allowed=f"every scene of split {split} listed once and predicted",
                remedy="run data_processing and reporting again with the same environment",
            )


def _rows(names: list[str], predictions: Predictions, store: Store) -> Iterator[IntArray]:
    for name in names:
        truth = store.scene(name)
        yield row_of(count_scene(truth.building, truth.damage, predictions[name](), scene=name))


def _counts(row: IntArray) -> Counts:
    return Counts(row[:4].reshape(2, 2), row[4:].reshape(N_CODES, N_CODES))
