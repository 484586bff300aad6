"""Estimates from the labels of a validation sample: counts, areas of the map, accuracy of the predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.types import AnyArray
from xview2_siamese_unet.validation.intervals import Interval, count_interval, ratio_interval
from xview2_siamese_unet.validation.sampling import LEAST, by_id, stratify
from xview2_siamese_unet.validation.zones import zone_intervals

DAMAGED: Final = "damaged"
SEVERE: Final = "major-damage or destroyed"
KINDS: Final[Mapping[str, tuple[Damage, ...]]] = {
    DAMAGED: SCORED[1:],
    SEVERE: SCORED[2:],
    **{code.word: (code,) for code in SCORED},
    "no building": (Damage.BACKGROUND,),
}
"""Kind of buildings that are counted → its classes; the last kind are outlines without a building."""
FALSE_OUTLINE: Final = [*KINDS][-1]
NO_PREDICTION: Final = "no prediction"
_NONE: Final = -1
"""Code of a building without a label, or without a prediction."""
COLUMNS: Final = (
    *("level", "name", "kind", "buildings", "labelled", "cannot_tell", "predicted"),
    *("estimate", "low", "high", "low_if_none", "high_if_all"),
)
"""Columns of the table of estimates."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Labels of a sample, one row per building of the population.

    Attributes:
        group: number of the stratum of estimation.
        cell: number of the stratum crossed with the predicted class.
        predicted: code of the predicted class, -1 without one.
        label: code of the label, 0 for no building, -1 without one.
        unknown: whether it is in the sample and the labeller cannot tell.
    """

    group: AnyArray
    cell: AnyArray
    predicted: AnyArray
    label: AnyArray
    unknown: AnyArray

    def __len__(self) -> int:
        return len(self.label)


def survey(population: pd.DataFrame, buildings: pd.DataFrame, sample: Sequence[str], labels: pd.DataFrame) -> Survey:
    """Return labels and strata of estimation of each building of the population.

    Args:
        population: columns `building_id` and `stratum`, as the sample was drawn from.
        buildings: assessed buildings: `building_id`, `damage` and probabilities, also of another model.
        sample: ids of the sample.
        labels: as `labelling.labels.read_labels` returns them; labels of other buildings are not used, because they
            are not a random sample.

    Raises:
        DataError: buildings that the sample was drawn from are missing, or the sample has no label.
    """
    ids = population["building_id"]
    known = by_id(buildings)
    if absent := int((~ids.isin(known.index)).sum()):
        raise DataError(
            f"{absent} of {len(ids)} buildings that the sample was drawn from are not in this assessment.",
            hint="Name the assessment that kedro validate was run on.",
        )
    frame = known.loc[ids].reset_index(drop=True)
    frame["stratum"] = population["stratum"].to_numpy()
    frame["drawn"] = ids.isin(list(sample)).to_numpy()
    of_sample = labels[labels["building_id"].isin(list(sample))].set_index("building_id")["damage"]
    if not of_sample.notna().any():
        raise DataError(
            "No building of the sample has a label other than cannot-tell.",
            hint="Label DIR/validation/label.html, export the labels, and name that file with --labels.",
        )
    label = ids.map(of_sample.dropna().astype(int)).fillna(_NONE).to_numpy(int)
    unknown = ids.isin(of_sample.index[of_sample.isna()]).to_numpy()
    predicted = frame["damage"].fillna(_NONE).to_numpy(int)
    group, _ = pd.factorize(post_strata(frame), sort=True)
    cell, _ = pd.factorize(frame["stratum"].astype(str) + "\n" + predicted.astype(str), sort=True)
    return Survey(group, cell, predicted, label, unknown)


def post_strata(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return the stratum of estimation of each building: its stratum, split if predictions differ within it.

    They differ if the sample was drawn without a model, or from the predictions of another one. Parts with few drawn
    buildings are joined with the next one. This depends on the drawn buildings, but on no label.

    Args:
        frame: `stratum`, `drawn`, `damage`, `p_none` to `p_destroyed`.
    """
    names = frame["stratum"].astype(object).copy()
    for name, rows in frame.groupby("stratum", sort=False):
        if rows["damage"].fillna(0).nunique() < 2:
            continue
        parts = stratify(rows, int(rows["drawn"].sum()) // 4)
        joined: dict[Any, int] = {}
        number = inside = 0
        for part, drawn in rows["drawn"].groupby(parts, sort=True).sum().items():
            number, inside = (number + 1, 0) if inside >= LEAST else (number, inside)
            joined[part] = number
            inside += int(drawn)
        if 0 < inside < LEAST:
            joined = {part: min(each, max(number - 1, 0)) for part, each in joined.items()}
        names[rows.index] = [f"{name}\n{joined[part]}" for part in parts]
    return names


def estimates_table(sampled: Survey, levels: Mapping[str, tuple[Sequence[str], AnyArray]]) -> pd.DataFrame:
    """Return counts with 95 % intervals, a row for each area and each of `KINDS`; columns `COLUMNS`.

    Args:
        sampled: the labels.
        levels: level (`cell`, `zone`) → names of the areas, and the number of the area of each building.
    """
    areas = {"all": (["all"], np.zeros(len(sampled), int)), **levels}
    parts = [_level(sampled, level, list(names), number) for level, (names, number) in areas.items()]
    return pd.DataFrame([row for part in parts for row in part], columns=list(COLUMNS))


def _level(sampled: Survey, level: str, names: list[str], number: AnyArray) -> list[dict[str, Any]]:
    def count(rows: AnyArray) -> AnyArray:
        shape = (len(names), int(sampled.group.max()) + 1)
        cells = np.ravel_multi_index((number[rows], sampled.group[rows]), shape)
        return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)

    sizes, labelled, unknown = count(np.ones(len(sampled), bool)), count(sampled.label != _NONE), count(sampled.unknown)
    rows = []
    for kind, codes in KINDS.items():
        positives, predicted = count(np.isin(sampled.label, codes)), count(np.isin(sampled.predicted, codes)).sum(1)
        interval = _intervals(positives, labelled, sizes)
        if unknown.any():
            low = np.minimum(interval.low, _intervals(positives, labelled + unknown, sizes).low)
            high = np.maximum(interval.high, _intervals(positives + unknown, labelled + unknown, sizes).high)
        else:
            low, high = interval.low, interval.high
        rows += [
            dict(zip(COLUMNS, (level, name, kind, *map(_plain, values)), strict=True))
            for name, *values in zip(
                names, sizes.sum(1), labelled.sum(1), unknown.sum(1), predicted, *interval, low, high, strict=True
            )
        ]
    order = {name: position for position, name in enumerate(names)}
    return sorted(rows, key=lambda row: order[row["name"]])


def _plain(value: Any) -> int | float | None:  # noqa: ANN401
    if isinstance(value, np.integer):
        return int(value)
    return None if np.isnan(value) else round(float(value), 1)


def _intervals(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Interval:
    """Return the intervals of areas; an area that holds all buildings is estimated by itself."""
    whole = sizes.sum(1) == sizes.sum()
    if whole.all():
        return count_interval(positives, labelled, sizes)
    zones, single = zone_intervals(positives, labelled, sizes), count_interval(positives, labelled, sizes)
    return Interval(*(np.where(whole, one, zone) for one, zone in zip(single, zones, strict=True)))


def accuracy(sampled: Survey) -> dict[str, Any] | None:
    """Return the error-adjusted confusion matrix, user's and producer's accuracies after Olofsson et al. (2014).

    Strata need not be the classes of the map, as in Stehman (2014). `None` without any prediction.

    Keys: `matrix` (predicted class → true class, or no building → `estimate`, `low`, `high`), `users` (share of the
    buildings predicted as a class that belong to it), `producers` (share of the buildings of a class that are predicted
    as it), `overall`.
    """
    absent = sampled.predicted == _NONE
    if absent.all():
        return None
    codes = [_NONE, *map(int, SCORED)] if absent.any() else [*map(int, SCORED)]
    rows = {code: _cells(sampled, sampled.predicted == code) for code in codes}
    rest = {code: _cells(sampled, sampled.predicted != code) for code in codes}
    words = {code: NO_PREDICTION if code == _NONE else Damage(code).word for code in codes}
    columns = {**{true.word: true for true in SCORED}, FALSE_OUTLINE: Damage.BACKGROUND}
    matrix = {
        words[code]: {word: _numbers(count_interval(*row(true))) for word, true in columns.items()}
        for code, row in rows.items()
    }
    users, producers = {}, {}
    for true in SCORED:
        whole = int((sampled.predicted == true).sum())
        users[true.word] = _numbers(count_interval(*rows[int(true)](true)), whole)
        inside, outside = (np.asarray(count_interval(*each[int(true)](true)).estimate) for each in (rows, rest))
        low, high = ratio_interval(rows[int(true)](true), rest[int(true)](true))
        estimate = float(inside / (inside + outside)) if inside + outside > 0 else None
        producers[true.word] = _shares({"estimate": estimate, "low": low, "high": high})
    correct = _tally(sampled, sampled.label != _NONE, sampled.label == sampled.predicted)
    return {
        "matrix": matrix,
        "users": users,
        "producers": producers,
        "overall": _numbers(count_interval(*correct), len(sampled)),
    }


def _cells(sampled: Survey, rows: AnyArray) -> Any:  # noqa: ANN401
    """Return a function from a true class to `positives`, `labelled`, `sizes` of the cells of some buildings."""
    return lambda true: _tally(sampled, rows & (sampled.label != _NONE), rows & (sampled.label == true), rows)


def _tally(
    sampled: Survey, labelled: AnyArray, positive: AnyArray, rows: AnyArray | None = None
) -> tuple[AnyArray, AnyArray, AnyArray]:
    cells = int(sampled.cell.max()) + 1
    inside = np.ones(len(sampled), bool) if rows is None else rows
    counts = [np.bincount(sampled.cell[each], minlength=cells) for each in (positive & labelled, labelled, inside)]
    used = counts[2] > 0
    none = np.zeros(1, int)  # of no building at all
    one, two, three = ((each[used] if used.any() else none) for each in counts)
    return one, two, three


def _numbers(interval: Interval, whole: int | None = None) -> dict[str, Any]:
    """Return an interval as plain values, as shares of `whole` buildings unless that is `None`."""
    if whole == 0:
        return dict.fromkeys(("estimate", "low", "high"))
    values = {key: _plain(np.asarray(value)[()]) for key, value in interval._asdict().items()}
    return values if whole is None else _shares({key: value and value / whole for key, value in values.items()})


def _shares(values: dict[str, float | None]) -> dict[str, float | None]:
    """Return shares with four digits; limits are rounded outwards."""
    to: dict[str, Callable[[float], Any]] = {"estimate": np.round, "low": np.floor, "high": np.ceil}
    inwards = {"estimate": 0.0, "low": 1e-9, "high": -1e-9}  # so that 0.29 stays 0.29
    return {
        key: None if value is None or np.isnan(value) else float(to[key](1e4 * value + inwards[key]) / 1e4)
        for key, value in values.items()
    }
