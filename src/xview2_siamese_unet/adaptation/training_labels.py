"""Labels of several files, and those of them that may train."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import geopandas as gpd
import pandas as pd

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.labelling.labels import exclude_validation, read_labels, validation_ids

_log = logging.getLogger(__name__)


def read_label_files(paths: Iterable[Path], buildings: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return the labels of all files, each building once; see `read_labels`.

    Raises:
        DataError: a file that cannot be used, or files that disagree about a building.
    """
    read = [read_labels(path.expanduser(), buildings) for path in paths]
    if not read:
        return pd.DataFrame({"building_id": pd.Series(dtype=object), "damage": pd.Series(dtype="Int8")})
    labels = pd.concat(read, ignore_index=True)
    repeated = labels.groupby("building_id")["damage"].nunique(dropna=False)
    if disagreeing := repeated.index[repeated > 1].tolist():
        raise DataError(
            f"The files of labels disagree about {len(disagreeing)} buildings, {disagreeing[0]} the first.",
            hint="Correct them; kedro label --compare shows how two labellers differ.",
        )
    return labels.drop_duplicates("building_id", ignore_index=True)


def training_labels(labels: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the labels that name a class, without those of the validation sample; warnings count the others.

    Args:
        labels: of `read_label_files`.
        folder: of the assessment.
    """
    labels = exclude_validation(labels, validation_ids(folder))
    named = labels["damage"].isin(SCORED)
    if not named.all():
        _log.warning("%d of %d labels name no damage class and do not train", (~named).sum(), len(labels))
    return labels[named].reset_index(drop=True)
