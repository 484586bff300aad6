from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from xview2_siamese_unet.report.warn import warnings_of

NONE = pd.DataFrame(columns=["scene", "problem", "remedy", "consequence"])
METRICS: dict[str, Any] = {"n_scenes": 100, "damage": {"minor-damage": {"support": 1}, "destroyed": {"support": 5}}}
CHECKPOINT: dict[str, Any] = {"epoch": 3, "history": [{"epoch": epoch} for epoch in range(5)]}
COUNTS = {"pre": {}, "post": {"background": 9, "no-damage": 5, "minor-damage": 1, "major-damage": 1, "destroyed": 1}}
UNSEEN = {"pre": {}, "post": {**COUNTS["post"], "major-damage": 0}}
PROBLEM = {"scene": "a", "problem": "labels/a.json: found no uid", "consequence": "left out"}


def test_nothing_to_tell_is_no_warning() -> None:
    assert warnings_of(METRICS, NONE, CHECKPOINT, COUNTS) == []
    assert warnings_of(METRICS, NONE, CHECKPOINT | {"history": []}, COUNTS) == []


def test_a_class_that_training_never_shows_is_named() -> None:
    (warning,) = warnings_of(METRICS, NONE, CHECKPOINT, UNSEEN)
    assert "No training scene shows major-damage" in warning


@pytest.mark.parametrize(
    ("metrics", "problems", "checkpoint", "sentence"),
    [
        ({"n_scenes": 29}, NONE, {}, "Only 29 scenes were scored: the intervals are rough."),
        ({"damage": {"destroyed": {"support": 0}}}, NONE, {}, "No scored scene holds destroyed: "),
        ({}, NONE, {"epoch": 4}, "The best epoch, 4, was the last one: "),
        ({}, pd.DataFrame([PROBLEM] * 2), {}, "2 scenes left out; the first: labels/a.json: found no uid."),
    ],
)
def test_each_trouble_is_told_once(
    metrics: dict[str, Any], problems: pd.DataFrame, checkpoint: dict[str, Any], sentence: str
) -> None:
    (told,) = warnings_of(METRICS | metrics, problems, CHECKPOINT | checkpoint, COUNTS)
    assert told.startswith(sentence)
