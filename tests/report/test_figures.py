from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.metrics.calibration import CURVES, FEW, STEPS
from xview2_siamese_unet.report.figures import (
    best_epoch,
    compact,
    draw_class_histogram,
    draw_curves,
    draw_matrix,
    draw_precision_recall,
    draw_reliability,
    row_shares,
)
from xview2_siamese_unet.report.page import percent

MATRIX = np.array([[90, 10], [0, 0]], np.int64)
COUNTS = {
    "pre": {"background": 900, "building": 100},
    "post": {"background": 900, "no-damage": 75, "minor-damage": 25, "destroyed": 0},
}


CALIBRATED = pd.DataFrame({"curve": np.repeat(CURVES, STEPS), "step": np.tile(np.arange(STEPS), len(CURVES))}).assign(
    seen=lambda t: np.where(t["step"] == 100, FEW - 1, 254), true=lambda t: np.where(t["step"] == 100, 0, t["step"])
)
"""Observed frequencies equal the predicted probabilities, except at one step with few pixels."""


def history(scores: list[float]) -> pd.DataFrame:
    epochs = np.arange(10, 10 + len(scores))
    return pd.DataFrame(
        {
            "epoch": epochs,
            "train_loss": 1.0 / (1 + epochs),
            "validation_loss": np.nan,
            "validation_score": scores,
            "validation_localization_f1": scores,
            "validation_damage_f1": scores,
        }
    )


def texts(axes) -> list[str]:  # noqa: ANN001
    return [text.get_text() for text in axes.texts]


def test_row_shares_of_an_empty_row_are_unknown() -> None:
    np.testing.assert_array_equal(row_shares(MATRIX), [[0.9, 0.1], [np.nan, np.nan]])


def test_matrix_writes_share_and_count_of_every_cell() -> None:
    (axes,) = draw_matrix(MATRIX, ("a", "b"), "Title", "px").axes
    first, second = ["90.0 %", "90 px", "↓ 100.0 %"], ["10.0 %", "10 px", "↓ 100.0 %"]
    assert texts(axes) == [*first, *second, *["none", "0 px", "↓ 0 %"] * 2]
    (empty,) = draw_matrix(np.array([[1, 0], [1, 0]], np.int64), ("a", "b"), "Title", "px").axes
    assert texts(empty)[3:6] == ["0 %", "0 px", "↓ none"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a\n100 px", "b\n0 px"]
    assert axes.get_title(loc="left") == "Title"


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.3, 0.2], 11), ([0.3, 0.3], 10), ([np.nan, 0.1], 11), ([np.nan], None), ([], None)],
)
def test_best_epoch_is_the_first_highest(scores: list[float], best: int | None) -> None:
    assert best_epoch(history(scores)) == best


def test_curves_hold_the_history_and_mark_the_best() -> None:
    table = history([0.1, 0.3, np.nan])
    loss, score = draw_curves(table).axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), table[["epoch", "train_loss"]])
    np.testing.assert_array_equal(score.lines[0].get_xydata(), table[["epoch", "validation_score"]])
    assert list(score.lines[-1].get_xdata()) == [11, 11]
    assert loss.get_xlim() == (9.5, 12.5)
    assert score.get_legend_handles_labels()[1][-1] == "highest score 0.300, epoch 11"


@pytest.mark.parametrize("scores", [[np.nan, np.nan], []])
def test_curves_without_a_validated_epoch_mark_nothing(scores: list[float]) -> None:
    figure = draw_curves(history(scores))
    assert all("highest" not in label for label in figure.axes[1].get_legend_handles_labels()[1])


def test_histogram_bars_carry_counts_and_shares() -> None:
    pre, post = draw_class_histogram(COUNTS).axes
    assert [bar.get_width() for bar in post.patches] == [900, 75, 25, 0]
    assert texts(post) == ["900 · 90.0 %", "75 · 7.5 %", "25 · 2.5 %", "none"]
    assert texts(pre) == ["900 · 90.0 %", "100 · 10.0 %"]
    assert post.get_xscale() == "log"
    assert [label.get_text() for label in post.get_yticklabels()] == list(COUNTS["post"])


def test_curves_show_their_number_and_differ_in_more_than_colour() -> None:
    for figure, mark in ((draw_precision_recall(CALIBRATED), "AP"), (draw_reliability(CALIBRATED), "ECE")):
        for axes in figure.axes:
            lines = [line for line in axes.lines if mark in str(line.get_label())]
            assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines) > 0
            shown = [text.get_text() for text in axes.get_legend().get_texts()]
            assert shown == [line.get_label() for line in lines]
        figure.canvas.draw()


def test_a_calibrated_model_lies_on_the_diagonal() -> None:
    for axes in draw_reliability(CALIBRATED).axes:
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("Mean predicted probability", "Observed frequency")
        for line in axes.lines[1:]:
            assert line.get_ydata() == pytest.approx(line.get_xdata(), abs=0.03)
            assert len(line.get_xdata()) == 15
            assert str(line.get_label()).endswith(("ECE 0.000", "ECE 0.001"))
    assert str(draw_precision_recall(CALIBRATED).axes[0].lines[0].get_label()).startswith("building  AP 0.")


def test_a_bin_of_few_pixels_is_not_drawn() -> None:
    few = CALIBRATED.assign(seen=lambda t: (t["step"] == 3) * (FEW - 1) + (t["step"] == 250) * FEW, true=0)
    lines = [line for axes in draw_reliability(few).axes for line in axes.lines[1:]]
    assert [len(line.get_xdata()) for line in lines] == [1] * 6


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (940, "940"),
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (999_400, "999k"),
        (1_234_567_890, "1.23G"),
    ],
)
def test_compact_rounds_counts_to_three_digits(count: int, text: str) -> None:
    assert compact(count) == text


@given(st.integers(1, 10**11))
def test_compact_stays_within_half_a_percent(count: int) -> None:
    text = compact(count)
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1)
    assert float(text.rstrip("kMG")) * scale == pytest.approx(count, rel=5.1e-3)
    assert len(text) <= 5


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "100.0 %"), (0.123, "12.3 %"), (0.0004, "0.04 %"), (1e-7, "< 0.01 %")]
)
def test_percent_is_zero_only_for_zero(share: float, text: str) -> None:
    assert percent(share) == text
