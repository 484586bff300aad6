"""Agreement of two labellers: Cohen's kappa and the confusion matrix behind it."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.reopen import assessment_root, require_record
from xview2_siamese_unet.labelling.labels import CANNOT_TELL, NO_BUILDING, read_labels

_log = logging.getLogger(__name__)


class Agreement(NamedTuple):
    """Agreement of two labellers.

    Attributes:
        kappa: 1 for equal labels, 0 for the agreement expected by chance, NaN if both used one class only.
        agreement: share of equal labels.
        labels: number of buildings that both labelled.
        confusion: rows: first labeller, columns: second labeller; `no-building` and `cannot-tell` are classes here.
    """

    kappa: float
    agreement: float
    labels: int
    confusion: pd.DataFrame


def compare_labels(folder: Path | str, first: Path | str, second: Path | str) -> Agreement:
    """Return the agreement of the files of two labellers; the same as `kedro label FOLDER --compare FIRST SECOND`.

    Args:
        folder: of an assessment, or of adapted products in it.
        first: labels of one.
        second: labels of the other.

    Raises:
        DataError: there is no assessment, labels cannot be read, or no building has both labels.
    """
    root = assessment_root(Path(folder).expanduser().absolute())
    require_record(root)
    buildings = read_building_layer(root / "buildings.gpkg")
    return kappa(*(read_labels(Path(file).expanduser(), buildings) for file in (first, second)))


def kappa(first: pd.DataFrame, second: pd.DataFrame) -> Agreement:
    """Return Cohen's kappa (Cohen 1960) of the buildings that both labelled; a warning counts the others.

    Args:
        first: as `labels.read_labels` returns them.
        second: those of the other labeller.

    Raises:
        DataError: no building has both labels.
    """
    both = first.merge(second, on="building_id", suffixes=("_first", "_second"))
    if not len(both):
        raise DataError(
            "The two labellers have no building in common.", hint="Let both label the same page, each on their own."
        )
    if alone := len(first) + len(second) - 2 * len(both):
        _log.warning("%d labels are of buildings that only one of the labellers has labelled", alone)
    words = {int(code): code.word for code in SCORED} | {0: NO_BUILDING, -1: CANNOT_TELL}
    one, other = (both[f"damage_{which}"].fillna(-1).astype(int) for which in ("first", "second"))
    counts = pd.crosstab(one, other).reindex(index=list(words), columns=list(words), fill_value=0)
    shares = counts.to_numpy() / len(both)
    equal, chance = float(np.trace(shares)), float(shares.sum(axis=1) @ shares.sum(axis=0))
    confusion = counts.rename(index=words, columns=words).rename_axis(index="first", columns="second")
    return Agreement((equal - chance) / (1 - chance) if chance < 1 else math.nan, equal, len(both), confusion)
