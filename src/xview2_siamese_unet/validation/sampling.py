"""Validation sample: a stratified random sample of buildings.

Strata are the predicted classes, split by confidence, or zones and predicted damage. Each building keeps a
random number, and a sample takes the smallest numbers of each stratum, so that a larger sample contains a smaller one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import ConfigError, DataError, StaleError
from xview2_siamese_unet.inference.buildings import NO_MODEL, NOT_ASSESSED, SHARES
from xview2_siamese_unet.types import AnyArray, Float64Array, Int64Array

FrameT = TypeVar("FrameT", bound=pd.DataFrame)
LEAST: Final = 5
"""Least number of labels of a stratum; all its buildings if it has fewer."""
_MOST_STRATA: Final = 10
_FLOOR: Final = 0.03  # probability by which even a confident model may be wrong


def in_population(buildings: pd.DataFrame) -> pd.Series[bool]:
    """Return which buildings the estimates cover: those with an id that both images show."""
    hidden = (buildings["status"] == NOT_ASSESSED) & (buildings["reason"] != NO_MODEL)
    return buildings["building_id"].notna() & ~hidden


def by_id(buildings: FrameT) -> FrameT:
    """Return the buildings with an id, which becomes the index, as text.

    Raises:
        DataError: an id repeats, also among buildings that cannot be labelled.
    """
    known = buildings.dropna(subset=["building_id"])
    known = known.set_index(known["building_id"].astype(str).rename(None))
    if known.index.has_duplicates:
        repeated = known.index[known.index.duplicated()].unique()
        raise DataError(
            f"{len(repeated)} ids of the assessment belong to several buildings; the first is {repeated[0]!r}.",
            hint="Assess footprints with unique ids.",
        )
    return known


def outlines(buildings: gpd.GeoDataFrame) -> pd.Series[Any]:
    """Return a digest of the outline of each building with an id, by id."""
    known = by_id(buildings)
    texts = shapely.to_wkb(shapely.normalize(known.geometry.to_numpy()))
    return pd.Series([hashlib.sha256(text).hexdigest()[:16] for text in texts], known.index, dtype=object)


def require_population(population: pd.DataFrame, buildings: gpd.GeoDataFrame) -> None:
    """Require that a population matches the buildings of an assessment.

    Args:
        population: see `new_population`, with the column `outline`: those of `outlines`.
        buildings: all of an assessment, also of adapted products.

    Raises:
        StaleError: buildings are gone, have another outline, or are new.
    """
    now, before = outlines(buildings), population.set_index("building_id")["outline"]
    other = int((now.reindex(before.index) != before).sum())
    visible = buildings.loc[in_population(buildings), "building_id"].astype(str)
    new = int((~visible.isin(before.index)).sum())
    if other or new:
        raise StaleError(
            f"The validation sample was drawn from other buildings: {other} of {len(before)} are gone or have another "
            f"outline, and {new} are new.",
            hint="Move the folder validation away, and run kedro validate again.",
        )


def spreads(buildings: pd.DataFrame) -> Float64Array:
    """Return the expected standard deviation of the label of each building, see `expected_spreads`."""
    return expected_spreads(buildings[[*SHARES]].to_numpy(float))


def expected_spreads(shares: Float64Array) -> Float64Array:
    """Return the expected standard deviation of a label, by the model's own probabilities (buildings, classes).

    Only the width of intervals depends on it. Buildings without probabilities have the largest value.
    """
    classes = shares.shape[1]
    mixed = (1 - 2 * _FLOOR) * np.where(np.isfinite(shares), shares, 1 / classes) + 2 * _FLOOR / classes
    return np.asarray(np.sqrt(1 - (mixed**2).sum(axis=1)))


def stratify(buildings: pd.DataFrame, count: int, zones: Sequence[str] | None = None) -> pd.Series[Any]:
    """Return the name of the stratum of each building.

    Without zones, the predicted classes are cut at confidences that give each part about the same number of labels.

    Args:
        buildings: columns `damage`, `p_none` to `p_destroyed`.
        count: labels that will be drawn.
        zones: of each building, to sample in each zone.

    Raises:
        ConfigError: too few labels for the zones.
    """
    codes = buildings["damage"].fillna(0).to_numpy(int)
    spread = spreads(buildings)
    if zones is not None:
        return _zone_strata(buildings.index, codes, count, zones)
    part = parts_by_confidence(codes, spread, count)
    names = np.empty(len(codes), object)
    for code in np.unique(codes):
        rows = codes == code
        word = Damage(code).word if code else "no prediction"
        numbered = np.array([f"{word} {number + 1}" for number in range(part[rows].max() + 1)], object)
        names[rows] = numbered[part[rows]] if len(numbered) > 1 else word
    return pd.Series(names, buildings.index, dtype=object)


def parts_by_confidence(codes: Int64Array, spread: Float64Array, count: int) -> Int64Array:
    """Return the part of its class that each building belongs to, from 0 for the most certain ones.

    Args:
        codes: predicted classes.
        spread: expected standard deviations, of which each part has about the same sum.
        count: labels that will be drawn.
    """
    part = np.zeros(len(codes), np.int64)
    parts = max(1, min(_MOST_STRATA, count // LEAST))
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        rows = rows[np.argsort(spread[rows], kind="stable")]
        share = spread[rows].sum() / spread.sum()
        cuts = 1 if np.ptp(spread[rows]) == 0 else max(1, round(parts * share))
        reached = np.cumsum(spread[rows]) / spread[rows].sum()
        part[rows] = np.minimum((reached * cuts * (1 - 1e-9)).astype(int), cuts - 1)
    return part


def _zone_strata(index: Any, codes: Int64Array, count: int, zones: Sequence[str]) -> pd.Series[Any]:  # noqa: ANN401
    """Return strata of zone and predicted damage."""
    damaged = np.where(codes > Damage.NO_DAMAGE, "damaged", "other")
    names = [f"{zone}: {word}" for zone, word in zip(zones, damaged, strict=True)]
    needed = len(set(names)) * LEAST
    if needed > count:
        raise ConfigError(
            f"{len(set(zones))} zones need at least {needed} labels, and --count is {count}.",
            hint=f"Use --count {needed}, fewer zones, or no --zones: kedro estimate has its own --zones.",
        )
    return pd.Series(names, index, dtype=object)


def allocate(sizes: AnyArray, spread: Float64Array, count: int) -> Int64Array:
    """Return the labels of each stratum: Neyman allocation with a minimum, all buildings if there are no more.

    Args:
        sizes: buildings.
        spread: mean expected standard deviation of a label.
        count: labels in total; more if the minima need them.
    """
    sizes = np.asarray(sizes, np.int64)
    least = np.minimum(LEAST, sizes)
    if count >= sizes.sum():
        return sizes.copy()
    mass = sizes * spread
    low, high = 0.0, float((sizes / np.maximum(mass, 1e-12)).max())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(mass * middle, least, sizes).sum() < count else (low, middle)
    exact = np.clip(mass * high, least, sizes)
    whole = np.floor(exact + 1e-6).astype(np.int64)
    left = max(0, count - int(whole.sum()))
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return np.minimum(whole, sizes)


def new_population(buildings: pd.DataFrame, count: int, seed: int, zones: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the frame that samples are drawn from: `building_id`, `stratum`, `zone`, `number`, `spread`.

    Args:
        buildings: those of the population, see `in_population`.
        count: labels that will be drawn first.
        seed: of the random numbers.
        zones: of each building.

    Raises:
        DataError: there is no building to sample, or ids repeat.
    """
    ids = by_id(buildings).index
    if not len(ids):
        raise DataError("The assessment holds no building to label.", hint="Check its report for the reasons.")
    population = pd.DataFrame({"building_id": ids})
    population["stratum"] = stratify(buildings, count, zones).to_numpy()
    population["zone"] = "" if zones is None else list(zones)
    population["number"] = np.random.default_rng(seed).permutation(len(ids))
    population["spread"] = spreads(buildings).round(4)
    return population


def draw(population: pd.DataFrame, count: int, drawn: Sequence[str] = ()) -> pd.DataFrame:
    """Return the sample: `building_id`, `stratum`, `weight` (buildings that a label stands for), in random order.

    The order is random, so that the labels of its first part are a valid sample, too.

    Args:
        population: see `new_population`.
        count: labels in total.
        drawn: ids of an earlier sample of the same population, which stay.
    """
    groups = population.groupby("stratum", sort=True)
    sizes, spread = groups.size(), groups["spread"].mean()
    before = population["building_id"].isin(list(drawn)).groupby(population["stratum"]).sum()
    wanted = np.maximum(allocate(sizes.to_numpy(), spread.to_numpy(float), count), before.to_numpy())
    rank = groups["number"].rank(method="first")
    sample = population[rank <= population["stratum"].map(dict(zip(sizes.index, wanted, strict=True)))]
    weight = sample["stratum"].map(dict(zip(sizes.index, sizes / wanted, strict=True)))
    return sample.assign(weight=weight.round(6)).sort_values("number", ignore_index=True)[
        ["building_id", "stratum", "weight"]
    ]
