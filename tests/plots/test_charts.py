from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.metrics.probabilities import CURVES, STEPS
from xview2_siamese_unet.plots.curves import best_epoch, draw_curves, plotly_curves
from xview2_siamese_unet.plots.histogram import draw_class_histogram, plotly_class_histogram
from xview2_siamese_unet.plots.matrices import DAMAGE_WORDS, draw_matrix, plotly_matrix, row_shares
from xview2_siamese_unet.plots.probabilities import (
    FEW,
    draw_precision_recall,
    draw_reliability,
    plotly_precision_recall,
    plotly_reliability,
)

MATRIX = np.array([[90, 10], [0, 0]], np.int64)
COUNTS = {
    "pre": {"background": 900, "building": 100},
    "post": {"background": 900, "no-damage": 75, "minor-damage": 25, "destroyed": 0},
}


SAID = pd.DataFrame({"curve": np.repeat(CURVES, STEPS), "step": np.tile(np.arange(STEPS), len(CURVES))}).assign(
    seen=lambda t: np.where(t["step"] == 100, FEW - 1, 254), true=lambda t: np.where(t["step"] == 100, 0, t["step"])
)
"""Every probability is taken at its word, but for one step that was hardly seen."""


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
    (axes,) = draw_matrix(MATRIX, ("a", "b"), "Title").axes
    first, second = ["90.0 %", "90 px", "↓ 100.0 %"], ["10.0 %", "10 px", "↓ 100.0 %"]
    assert texts(axes) == [*first, *second, *["none", "0 px", "↓ 0 %"] * 2]
    (empty,) = draw_matrix(np.array([[1, 0], [1, 0]], np.int64), ("a", "b"), "Title").axes
    assert texts(empty)[3:6] == ["0 %", "0 px", "↓ none"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a\n100 px", "b\n0 px"]
    assert axes.get_title(loc="left") == "Title"


def test_plotly_matrix_holds_counts_and_shares() -> None:
    damage = np.arange(36, dtype=np.int64).reshape(6, 6)
    (trace,) = plotly_matrix(damage, DAMAGE_WORDS, "Damage").data
    assert list(trace.x) == list(trace.y) == [code.word for code in Damage]
    np.testing.assert_allclose(np.array(trace.z, float), row_shares(damage))
    assert [[cell[0] for cell in row] for row in trace.customdata] == damage.tolist()
    assert trace.customdata[1][0][1] == pytest.approx(100 * 6 / (0 + 6 + 12 + 18 + 24 + 30))


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


def test_plotly_curves_hold_the_history() -> None:
    figure = plotly_curves(history([0.1, 0.3, np.nan]))
    by_name = {trace.name: trace for trace in figure.data}
    assert list(by_name["official score"].y) == [0.1, 0.3, None]
    assert list(by_name["official score"].x) == [10, 11, 12]
    assert figure.layout.title.text == "highest score 0.300, epoch 11"
    json.loads(figure.to_json())


@pytest.mark.parametrize("scores", [[np.nan, np.nan], []])
def test_curves_without_a_validated_epoch_mark_nothing(scores: list[float], recwarn: pytest.WarningsRecorder) -> None:
    figure = draw_curves(history(scores))
    assert all("highest" not in label for label in figure.axes[1].get_legend_handles_labels()[1])
    assert plotly_curves(history(scores)).layout.title.text is None


def test_histogram_bars_carry_counts_and_shares() -> None:
    pre, post = draw_class_histogram(COUNTS).axes
    assert [bar.get_width() for bar in post.patches] == [900, 75, 25, 0]
    assert texts(post) == ["900 · 90.0 %", "75 · 7.5 %", "25 · 2.5 %", "none"]
    assert texts(pre) == ["900 · 90.0 %", "100 · 10.0 %"]
    assert post.get_xscale() == "log"
    assert [label.get_text() for label in post.get_yticklabels()] == list(COUNTS["post"])


def test_plotly_histogram_holds_true_counts_even_of_nothing() -> None:
    pre, post = plotly_class_histogram(COUNTS).data
    assert list(post.customdata) == [900, 75, 25, 0]
    assert list(pre.y) == ["background", "building"]
    assert list(post.x) == [900, 75, 25, 1]
    assert post.marker.color[1] == Damage.NO_DAMAGE.colour


def test_curves_of_probabilities_name_their_number_and_differ_in_more_than_colour() -> None:
    for figure, mark in ((draw_precision_recall(SAID), "AP"), (draw_reliability(SAID), "ECE")):
        for axes in figure.axes:
            lines = [line for line in axes.lines if mark in str(line.get_label())]
            assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines) > 0
            shown = [text.get_text() for text in axes.get_legend().get_texts()]
            assert shown == [line.get_label() for line in lines]
        figure.canvas.draw()


def test_what_is_true_as_often_as_said_lies_on_the_diagonal() -> None:
    for trace in plotly_reliability(SAID).data:
        assert trace.y == pytest.approx(trace.x, abs=0.03)
        assert len(trace.text) == len(trace.x) == 15
        assert trace.name.endswith(("ECE 0.000", "ECE 0.001"))
    assert json.loads(plotly_precision_recall(SAID).to_json())["data"][0]["name"].startswith("building  AP 0.")


def test_a_bin_of_few_pixels_is_not_drawn() -> None:
    few = SAID.assign(seen=lambda t: (t["step"] == 3) * (FEW - 1) + (t["step"] == 250) * FEW, true=0)
    assert [len(trace.x) for trace in plotly_reliability(few).data] == [1] * 6
