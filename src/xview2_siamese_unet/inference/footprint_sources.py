"""Sources of footprints: data set, licence and date, as stated in their file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

SOURCES: Final = "sources"
"""Column of Overture: a list of data sets, each with its licence and the time of its last change."""
_STATED: Final = {
    "dataset": ("dataset", "title"),
    "licence": ("licence", "license", "rights", "copyright", "attribution"),
    "date": ("date", "updated", "update_time", "timestamp"),
}


def describe_sources(values: Iterable[Any], stated: Mapping[str, str], rows: int) -> list[dict[str, Any]]:
    """Return `dataset`, `licence`, newest `date` and number of `buildings` of each source, unknown values as `None`.

    Args:
        values: of the column `sources`, lists or JSON; empty without such a column.
        stated: metadata of the file, for values that the rows do not state.
        rows: how many were read.
    """
    lower = {key.lower(): value for key, value in stated.items() if value.strip()}
    whole = {key: next((lower[name] for name in names if name in lower), None) for key, names in _STATED.items()}
    entries = pd.DataFrame(
        [
            (row, each.get("dataset"), each.get("license"), each.get("update_time"))
            for row, value in enumerate(values)
            for each in _entries(value)
        ],
        columns=["row", "dataset", "licence", "date"],
        dtype=object,
    )
    if entries.empty:
        return [{**whole, "buildings": rows}] if any(whole.values()) else []
    return [
        {
            "dataset": _known(dataset) or whole["dataset"],
            "licence": _known(licence) or whole["licence"],
            "date": max((str(date)[:10] for date in part["date"].dropna()), default=whole["date"]),
            "buildings": part["row"].nunique(),
        }
        for (dataset, licence), part in entries.groupby(["dataset", "licence"], dropna=False)
    ]


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = [{"dataset": value}] if value.strip() else None
    if isinstance(value, (list, tuple, np.ndarray)):  # else missing, or something else of the same name
        yield from (each for each in value if isinstance(each, Mapping))


def _known(value: Any) -> str | None:  # noqa: ANN401
    return None if pd.isna(value) else str(value)


def sources_text(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return the sources in one line, as in "OpenStreetMap (ODbL-1.0, 2026-01-31)"."""
    return "; ".join(
        f"{each['dataset'] or 'data set not stated'} "
        f"({each['licence'] or 'licence not stated'}, {each['date'] or 'date not stated'})"
        for each in sources
    )
