"""Estimates as numbers for `estimates.json`, and as sentences to quote."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.summary import CELL
from xview2_siamese_unet.validation.estimation import DAMAGED, FALSE_OUTLINE, SEVERE

NOTE: Final = (
    "95 % intervals from a random sample that a person labelled from the same images. They are about what a person "
    "sees from above, not what an inspection finds, and do not include errors of the labels. Rows of zones and cells "
    "borrow from the strata of all buildings and need not add up."
)
_VERBS: Final = {DAMAGED: "damaged", SEVERE: "destroyed or have major damage"}


def estimates_numbers(
    table: pd.DataFrame, accuracy: Mapping[str, Any] | None, *, sample: int, outside: int, trained: int = 0
) -> dict[str, Any]:
    """Return the content of `estimates.json`: plain values, and sentences.

    Args:
        table: see `estimation.estimates_table`.
        accuracy: see `estimation.accuracy`.
        sample: buildings that were drawn.
        outside: buildings of the assessment that the estimates do not cover.
        trained: buildings of the sample that the predictions were trained on.
    """
    rows = [
        {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")
    ]
    levels = {level: [row for row in rows if row["level"] == level] for level in ("all", "cell", "zone")}
    whole = levels["all"][0]
    return {
        "note": NOTE,
        "sentences": list(_sentences(levels["all"], accuracy, outside, trained)),
        "buildings": whole["buildings"],
        "not_included": outside,
        "trained": trained,
        "sample": sample,
        "labelled": whole["labelled"],
        "cannot_tell": whole["cannot_tell"],
        "all": levels["all"],
        "zones": levels["zone"],
        f"cells_{CELL}_m": levels["cell"],
        "accuracy": accuracy,
    }


def _sentences(
    rows: list[dict[str, Any]], accuracy: Mapping[str, Any] | None, outside: int, trained: int
) -> Iterator[str]:
    by_kind = {row["kind"]: row for row in rows}
    for kind, words in _VERBS.items():
        row = by_kind[kind]
        yield f"{statement(row)} are {words} (95 % interval, {row['labelled']:,} labelled)."
    row = by_kind[FALSE_OUTLINE]
    if row["estimate"]:
        yield f"{statement(row, 'outlines')} are not buildings (95 % interval): they count as not damaged."
    row = by_kind[DAMAGED]
    if row["cannot_tell"]:
        noun = "building" if row["cannot_tell"] == 1 else "buildings"
        yield (
            f"For {row['cannot_tell']:,} {noun} the labeller could not tell: between {row['low_if_none']:,} if "
            f"none of these is damaged and {row['high_if_all']:,} if all are."
        )
    if outside:
        noun, has = ("building is", "has") if outside == 1 else ("buildings are", "have")
        yield f"{outside:,} more {noun} not visible or {has} no id: not included."
    if trained:
        yield f"{trained:,} labelled buildings were used to fit the predictions: their accuracy is overestimated."
    if accuracy is not None:
        yield f"{percents(accuracy['overall'])} of the buildings have the right predicted class."
        users = accuracy["users"][Damage.DESTROYED.word]
        if users["low"] is not None:
            yield (
                f"Of the {predicted_count(by_kind, Damage.DESTROYED):,} buildings that are predicted to be destroyed, "
                f"{percents(users)} are."
            )


def percents(share: Mapping[str, Any]) -> str:
    """Return an interval of shares in whole percents, rounded outwards."""
    return f"{math.floor(100 * share['low'] + 1e-9)}% to {math.ceil(100 * share['high'] - 1e-9)}%"


def predicted_count(by_kind: Mapping[str, Mapping[str, Any]], code: Damage) -> int:
    """Return how many buildings are predicted to have a class."""
    return int(by_kind[code.word]["predicted"])


def statement(row: Mapping[str, Any], noun: str = "buildings") -> str:
    """Return an interval in words, such as `412 to 508 of 3,120 buildings`."""
    low, high = (f"{row[key]:,}" for key in ("low", "high"))
    return f"{low if low == high else f'{low} to {high}'} of {row['buildings']:,} {noun}"
