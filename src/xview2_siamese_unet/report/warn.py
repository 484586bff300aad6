"""What a reader must be told before the numbers: sentences, none where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from xview2_siamese_unet.damage import SCORED

_FEW: Final = 30
"""Scenes below which a bootstrap interval is rough."""


def warnings_of(
    metrics: Mapping[str, Any],
    problems: pd.DataFrame,
    checkpoint: Mapping[str, Any],
    class_counts: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Return the warnings of a report.

    Args:
        metrics: what `metrics.summary.summarise` returns.
        problems: one row a problem of the dataset; columns problem, consequence.
        checkpoint: what was scored, see `nets.checkpoint.Checkpoint`.
        class_counts: pixels of each class in the training split, see `stats.count_classes`.
    """
    return [
        *_of_metrics(metrics),
        *_of_checkpoint(checkpoint),
        *_of_class_counts(class_counts),
        *_of_problems(problems),
    ]


def _of_metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    if metrics["n_scenes"] < _FEW:
        yield f"Only {metrics['n_scenes']} scenes were scored: the intervals are rough."
    absent = [word for word, row in metrics["damage"].items() if not row["support"]]
    if absent:
        yield f"No scored scene holds {', '.join(absent)}: the official damage F1 is nearly 0 whatever the model does."


def _of_checkpoint(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    last = checkpoint["history"][-1]["epoch"] if checkpoint["history"] else None
    if last is not None and checkpoint["epoch"] == last:
        yield f"The best epoch, {last}, was the last one: longer training may be better."


def _of_class_counts(counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    absent = [code.word for code in SCORED if not counts["post"][code.word]]
    if absent:
        yield f"No training scene shows {', '.join(absent)}: the model cannot predict what it has not seen."


def _of_problems(problems: pd.DataFrame) -> Iterator[str]:
    for consequence, rows in problems.groupby("consequence", sort=True):
        yield f"{len(rows)} scenes {consequence}; the first: {rows['problem'].iloc[0].removesuffix('.')}."
