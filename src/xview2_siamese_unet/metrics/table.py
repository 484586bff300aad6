"""Counts of many scenes as a table: one row a scene, so that any grouping or resampling of scenes is a sum of rows.

Columns: `scene`, `split`, `disaster`, `disaster_type`, then 4 + 36 int64 counts of pixels. `localization_0_1` counts
truth background predicted as building; `damage_4_2` counts truth code 4 (destroyed) predicted as code 2 (minor-damage).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import Counts, IntArray, UInt8Array, count_scene

LOCALIZATION_COLUMNS: Final = [f"localization_{truth}_{found}" for truth in range(2) for found in range(2)]
DAMAGE_COLUMNS: Final = [f"damage_{truth}_{found}" for truth in range(N_CODES) for found in range(N_CODES)]

Predictions = Mapping[str, Callable[[], UInt8Array]]
"""Scene name → loader of its predicted damage map, uint8 (h, w)."""


class Scene(Protocol):
    """Images and truth of one scene, memory-mapped."""

    @property
    def pre(self) -> UInt8Array:
        """Image before the disaster, uint8 (h, w, 3)."""

    @property
    def post(self) -> UInt8Array:
        """Image after the disaster, uint8 (h, w, 3)."""

    @property
    def building(self) -> UInt8Array:
        """Truth of the pre-disaster label, uint8 (h, w), 0 or 1."""

    @property
    def damage(self) -> UInt8Array:
        """Truth of the post-disaster label, uint8 (h, w), codes 0 to 5."""


class Store(Protocol):
    """Where scenes are looked up by name."""

    def scene(self, name: str) -> Scene:
        """Return one scene."""


def count_scenes(predictions: Predictions, store: Store, scenes: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return the table of counts of every predicted scene, sorted by name; holds one scene in memory at a time.

    Args:
        predictions: scene name → loader of its predicted damage map.
        store: truth of the scenes.
        scenes: columns scene, disaster, disaster_type.
        splits: columns scene, split.

    Raises:
        DataError: no predictions, or a predicted scene that `scenes` or `splits` do not list or list twice.
    """
    if not predictions:
        raise DataError(
            "predictions",
            found="no scene",
            allowed="one scene at least",
            remedy="choose a split that has scenes, or run the prediction again",
        )
    facts = scenes[["scene", "disaster", "disaster_type"]].merge(splits[["scene", "split"]], on="scene")
    facts = facts[facts["scene"].isin(list(predictions))].sort_values("scene", ignore_index=True)
    if list(facts["scene"]) != sorted(predictions):
        odd = sorted(set(predictions) ^ set(facts["scene"])) or sorted(facts["scene"][facts["scene"].duplicated()])
        raise DataError(
            odd[0],
            found="a prediction of a scene that the tables of scenes and splits do not list exactly once",
            allowed="predictions made from the same scenes",
            remedy="run the prediction again",
        )
    rows = np.array(list(_rows(list(facts["scene"]), predictions, store)))
    counts = pd.DataFrame(rows, columns=[*LOCALIZATION_COLUMNS, *DAMAGE_COLUMNS])
    return pd.concat([facts[["scene", "split", "disaster", "disaster_type"]], counts], axis=1)


def total(table: pd.DataFrame) -> Counts:
    """Return the sum of all rows of a table of counts."""
    return _counts(table[[*LOCALIZATION_COLUMNS, *DAMAGE_COLUMNS]].to_numpy(np.int64).sum(axis=0))


def total_by(table: pd.DataFrame, column: str) -> dict[str, Counts]:
    """Return the sums of the rows that share a value of `column`, such as `disaster`, sorted by that value."""
    return {str(value): total(rows) for value, rows in table.groupby(column, sort=True, observed=True)}


def each(table: pd.DataFrame) -> dict[str, Counts]:
    """Return the counts of each scene, in the order of the rows."""
    values = table[[*LOCALIZATION_COLUMNS, *DAMAGE_COLUMNS]].to_numpy(np.int64)
    return dict(zip(table["scene"].astype(str), map(_counts, values), strict=True))


def _rows(names: list[str], predictions: Predictions, store: Store) -> Iterator[IntArray]:
    for name in names:
        truth = store.scene(name)
        counts = count_scene(truth.building, truth.damage, predictions[name](), scene=name)
        yield np.concatenate([counts.localization.ravel(), counts.damage.ravel()])


def _counts(row: IntArray) -> Counts:
    return Counts(row[:4].reshape(2, 2), row[4:].reshape(N_CODES, N_CODES))
