"""Confusion counts of pixels, int64, from one histogram of each scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.types import CountRows, DamageCounts, Int64Array, LocalizationCounts, Mask, UInt8Array

if TYPE_CHECKING:
    import pandas as pd

Predictions = Mapping[str, Callable[[], UInt8Array]]
"""Scene name → loader of its predicted damage map, uint8 (h, w)."""

LOCALIZATION_COLUMNS: Final = [f"localization_{truth}_{predicted}" for truth in range(2) for predicted in range(2)]
DAMAGE_COLUMNS: Final = [f"damage_{truth}_{predicted}" for truth in range(N_CODES) for predicted in range(N_CODES)]
COUNT_COLUMNS: Final = [*LOCALIZATION_COLUMNS, *DAMAGE_COLUMNS]
"""Columns of counts, one row per scene; `damage_4_2` counts pixels of truth 4 (destroyed) predicted as 2 (minor)."""
_SHAPE: Final = (2, 2, N_CODES, N_CODES)
N_JOINT: Final = math.prod(_SHAPE)
"""Combinations of a predicted building, both truths and a predicted code."""
Bytes: TypeAlias = Any
"""Array or tensor of bytes; torch is not imported here."""


@dataclass(frozen=True, eq=False, slots=True)
class Counts:
    """Confusion matrices in pixels, rows truth; any leading axes, such as scenes.

    Attributes:
        localization: 0 background, 1 building; truth of the pre-disaster label.
        damage: codes of `Damage`; truth of the post-disaster label.
    """

    localization: LocalizationCounts
    damage: DamageCounts

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.localization + other.localization, self.damage + other.damage)

    @classmethod
    def zero(cls) -> Counts:
        """Return the counts of no scene."""
        return cls(np.zeros((2, 2), np.int64), np.zeros((N_CODES, N_CODES), np.int64))

    @classmethod
    def from_rows(cls, rows: CountRows) -> Counts:
        """Return the counts of rows, columns as `COUNT_COLUMNS`."""
        lead = rows.shape[:-1]
        return cls(rows[..., :4].reshape(*lead, 2, 2), rows[..., 4:].reshape(*lead, N_CODES, N_CODES))

    @classmethod
    def from_joint(cls, joint: Int64Array) -> Counts:
        """Return the counts of `N_JOINT` numbers of pixels, see `joint_codes`."""
        outside, inside = joint.reshape(_SHAPE)
        by_code: Int64Array = inside.sum(axis=0)
        by_code[:, 0] += outside.sum(axis=(0, 2))
        return cls(np.stack([outside.sum(axis=(1, 2)), inside.sum(axis=(1, 2))], axis=1), by_code)

    def row(self) -> CountRows:
        """Return the counts in the order of `COUNT_COLUMNS`."""
        lead = self.localization.shape[:-2]
        return np.concatenate([self.localization.reshape(*lead, -1), self.damage.reshape(*lead, -1)], axis=-1)


def rows_of(table: pd.DataFrame) -> CountRows:
    """Return the counts of a table, one row a scene."""
    return table[COUNT_COLUMNS].to_numpy(np.int64)


def total(table: pd.DataFrame) -> Counts:
    """Return the sum of all scenes of a table."""
    return Counts.from_rows(rows_of(table).sum(axis=0))


def count_scene(building: Mask, damage: Mask, predicted: Mask, *, scene: str, located: Mask | None = None) -> Counts:
    """Return the counts of one scene.

    Args:
        building: truth of the pre-disaster label, 0 or 1.
        damage: truth of the post-disaster label, codes 0 to 5.
        predicted: codes 0 to 5.
        scene: name for error messages.
        located: 1 where a building is predicted; predicted damage outside of it does not count. By default,
            a building is predicted where the predicted code is above 0.

    Raises:
        DataError: another type, shape or value than the above.
    """
    located = (predicted > 0).view(np.uint8) if located is None else located
    for name, mask, highest in (
        ("building truth", building, 1),
        ("damage truth", damage, N_CODES - 1),
        ("prediction", predicted, N_CODES - 1),
        ("predicted buildings", located, 1),
    ):
        _check(mask, building.shape, highest, f"{scene}, {name}")
    return Counts.from_joint(histogram(joint_codes(located, building, damage, predicted))[:N_JOINT])


def joint_codes(located: Bytes, building: Bytes, damage: Bytes, predicted: Bytes) -> Bytes:
    """Return one code for each combination, below `N_JOINT`; arguments as `count_scene`."""
    # 2 × 2 × 6 × 6 = 144 joint codes still fit a byte, so one copy of the scene holds them all.
    joint = located * _SHAPE[1]
    for size, mask in zip((*_SHAPE[2:], 1), (building, damage, predicted), strict=True):
        joint += mask
        joint *= size
    return joint


def histogram(codes: UInt8Array) -> Int64Array:
    """Return how often each of the 256 values of a byte occurs, int64 (256,)."""
    # Most of a scene is 0 and is left out first: `np.bincount` takes eight bytes for each pixel that it counts.
    counts = np.bincount(codes[codes > 0], minlength=256).astype(np.int64)
    counts[0] = codes.size - counts.sum()
    return counts


def _check(mask: UInt8Array, shape: tuple[int, ...], highest: int, where: str) -> None:
    problem = None
    if mask.dtype != np.uint8:
        problem = f"has {mask.dtype} values"
    elif mask.ndim != 2 or mask.shape != shape or mask.size == 0:
        problem = f"has the shape {mask.shape}"
    elif (value := int(mask.max())) > highest:
        problem = f"holds the value {value}"
    if problem is not None:
        raise DataError(
            f"{where} {problem}; uint8 codes 0 to {highest} in the shape {shape} are needed.",
            hint="Make masks and predictions again with the settings of this run.",
        )
