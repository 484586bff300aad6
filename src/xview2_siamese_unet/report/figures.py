"""Charts of scores and training.

Figures are `matplotlib.figure.Figure` objects without pyplot, so that drawing one leaves no state behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.metrics.calibration import BUILDING, FEW, MOST_LIKELY, curves_of, precision_recall, reliability
from xview2_siamese_unet.report.page import percent
from xview2_siamese_unet.types import Float64Array, Int64Array

INK: Final = "#1f2933"
MUTED: Final = "#5b6770"
_GRID: Final = "#e4e8ec"
_BLUE: Final = "#0b5fa5"
_ORANGE: Final = "#c2570c"
_GREEN: Final = "#2b7a4b"
_PURPLE: Final = "#6a3d9a"
_TITLE_SIZE: Final = 12
_TEXT_SIZE: Final = 10
_SMALL_SIZE: Final = 8.5

BUILDING_WORDS: Final = ("background", "building")
DAMAGE_WORDS: Final = tuple(code.word for code in Damage)
PanelCounts = Mapping[str, Mapping[str, int]]
"""Panel, such as a phase (`pre`, `post`) or a split → class word → pixels."""


class _Line(NamedTuple):
    colour: str
    dash: str
    label: str = ""
    marker: str = "o"


_HISTORY: Final = {
    "Loss": {
        "train_loss": _Line(MUTED, "--", "training loss"),
        "validation_loss": _Line(_BLUE, "-", "validation loss"),
    },
    "Validation score": {
        "validation_score": _Line(_PURPLE, "-", "official score"),
        "validation_localization_f1": _Line(_GREEN, "--", "localisation F1"),
        "validation_damage_f1": _Line(_ORANGE, ":", "damage F1"),
    },
}
"""Title → column → line."""
# Class colours, darkened for a white background, each with a different dash and marker.
_DAMAGE_LINES: Final = {
    Damage.NO_DAMAGE.word: _Line(_BLUE, "-"),
    Damage.MINOR_DAMAGE.word: _Line("#8a7a00", "--", marker="s"),
    Damage.MAJOR_DAMAGE.word: _Line(_ORANGE, "-.", marker="^"),
    Damage.DESTROYED.word: _Line("#b2182b", ":", marker="D"),
}
_LINES: Final = {BUILDING: _Line(_PURPLE, "-"), MOST_LIKELY: _Line(INK, "-", marker="s"), **_DAMAGE_LINES}
_RECALL: Final = {"Localisation": (BUILDING,), "Damage classes": (*_DAMAGE_LINES,)}
_RELIABILITY: Final = {"Building and most likely class": (BUILDING, MOST_LIKELY), "Damage classes": (*_DAMAGE_LINES,)}
_PANELS: Final = {
    "pre": "Pre-disaster",
    "post": "Post-disaster",
    "train": "Training",
    "validation": "Validation",
    "test": "Test",
}
_BARS: Final = {"building": "#7a5195", **{code.word: code.colour for code in Damage}, "background": "#4a4f55"}


def compact(count: float) -> str:
    """Return a count in three or four characters: 940, 12.3k, 4.56M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g}{unit}" if count < 999.5 * limit else f"{count / limit:.0f}{unit}"
    return f"{count:.0f}"


def best_epoch(history: pd.DataFrame) -> int | None:
    """Return the first epoch with the highest validation score, if any was validated."""
    validated = history.dropna(subset="validation_score")
    return None if validated.empty else int(validated["epoch"].iloc[validated["validation_score"].to_numpy().argmax()])


def draw_curves(history: pd.DataFrame) -> Figure:
    """Return training curves, the best epoch marked.

    Args:
        history: one row an epoch; columns epoch, train_loss, validation_loss, validation_score,
            validation_localization_f1, validation_damage_f1; NaN leaves a gap.
    """
    figure, best, epochs = _figure(10, 3.8), best_epoch(history), history["epoch"]
    for axes, (title, lines) in zip(figure.subplots(1, 2), _HISTORY.items(), strict=True):
        _style(axes, title, grid="y")
        for column, line in lines.items():
            marker = line.marker if len(history) <= 30 else None
            style = {"color": line.colour, "label": line.label, "linewidth": 1.8, "marker": marker, "markersize": 3.5}
            axes.plot(epochs, history[column], line.dash, **style)
        axes.set(xlabel="Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(history):
            axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axes.set_ylim(bottom=0)
        if best is not None:
            highest = history.loc[epochs == best, "validation_score"].max()
            text = f"highest score {highest:.3f}, epoch {best}" if "score" in title else None
            axes.axvline(best, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0, label=text)
        axes.legend(edgecolor="none", framealpha=0.9, fontsize=_TEXT_SIZE, labelcolor=INK, loc="best", handlelength=2.6)
    return figure


def draw_class_histogram(counts: PanelCounts) -> Figure:
    """Return bars on a logarithmic axis, one panel for each key of `counts`."""
    figure = _figure(10, 1.2 + 0.42 * max(max(len(classes), 1) for classes in counts.values()))
    # The axis starts at 1, since a logarithm has no 0, and leaves room for the text behind each bar.
    end = float(10 * max(10, *(n for classes in counts.values() for n in classes.values())) ** 1.3)
    panels = figure.subplots(1, len(counts), squeeze=False, width_ratios=[1] * len(counts))[0]
    for axes, (key, classes) in zip(panels, counts.items(), strict=True):
        _style(axes, _PANELS.get(key, key), grid="x")
        axes.set_xscale("log")
        axes.minorticks_off()  # of many decades
        axes.xaxis.set_major_formatter(lambda count, _: compact(count))
        pixels, rows, total = list(classes.values()), range(len(classes)), sum(classes.values())
        axes.barh(rows, pixels, color=[_BARS.get(word, MUTED) for word in classes], edgecolor=INK, linewidth=0.5)
        for row, count in zip(rows, pixels, strict=True):
            text = f"{compact(count)} · {percent(count / total)}" if count else "none"
            offset = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(text, (max(count, 1), row), size=_SMALL_SIZE, color=INK, **offset)
        axes.set_yticks(rows, list(classes))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(xlabel="Pixels (log scale)", xlim=(1, end))
    return figure


def row_shares(matrix: Int64Array) -> Float64Array:
    """Return each row divided by its sum; NaN where a row is empty."""
    sums = matrix.sum(axis=1, keepdims=True).astype(float)
    return np.asarray(matrix / np.where(sums > 0, sums, np.nan))


def draw_matrix(matrix: Int64Array, words: Sequence[str], title: str, unit: str) -> Figure:
    """Return a confusion matrix; cells show row share, count and column share.

    Shade is the share of the row, so that a rare class reads as well as a common one.

    Args:
        matrix: int64 (n, n) counts; rows truth, columns prediction.
        words: the n class names.
        title: heading.
        unit: what is counted.
    """
    shares, column_shares, size = row_shares(matrix), row_shares(matrix.T).T, len(words)
    figure = _figure(2.6 + 0.95 * size, 1.9 + 0.7 * size)
    axes = figure.subplots()
    _style(axes, title)
    axes.imshow(shares, cmap=colormaps["Blues"].with_extremes(bad="#f3f4f6"), vmin=0, vmax=1, aspect="auto")
    short = unit if len(unit) < 3 else ""
    for row, column in np.ndindex(size, size):
        count = f"{compact(int(matrix[row, column]))} {short}"
        below = f"↓ {_share(float(column_shares[row, column]))}"
        _write_cell(axes, (row, column), (count, below), float(shares[row, column]))
    axes.set_xticks(range(size), words, rotation=0 if size < 4 else 25, ha="center" if size < 4 else "right")
    axes.set_yticks(range(size), [f"{w}\n{compact(n)} {unit}" for w, n in zip(words, matrix.sum(axis=1), strict=True)])
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    return figure


def draw_precision_recall(counts: pd.DataFrame) -> Figure:
    """Return precision-recall curves of `metrics.calibration.count_probabilities`."""
    curves = {name: precision_recall(rows) for name, rows in curves_of(counts).items()}
    figure = _figure(10, 4.6)
    for axes, (title, names) in zip(figure.subplots(1, 2), _RECALL.items(), strict=True):
        for name in names:
            curve = curves[name]
            _plot(axes, name, (curve.recall, curve.precision), f"AP {curve.average_precision:.3f}", marker="")
        _finish(axes, title, "Recall", "Precision")
    return figure


def draw_reliability(counts: pd.DataFrame) -> Figure:
    """Return reliability diagrams of `metrics.calibration.count_probabilities`."""
    bins = {name: reliability(rows) for name, rows in curves_of(counts).items()}
    figure = _figure(10, 4.6)
    for axes, (title, names) in zip(figure.subplots(1, 2), _RELIABILITY.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
        for name in names:
            curve = bins[name]
            shown = curve.pixels >= FEW
            line = curve.predicted[shown], curve.observed[shown]
            _plot(axes, name, line, f"ECE {curve.ece:.3f}", marker=_LINES[name].marker)
        _finish(axes, title, "Mean predicted probability", "Observed frequency")
    return figure


def _figure(width: float, height: float) -> Figure:
    """Return an empty white figure of a size in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _style(axes: Axes, title: str, grid: Literal["x", "y", "both", ""] = "") -> None:
    axes.set_title(title, loc="left", fontsize=_TITLE_SIZE, color=INK, fontweight="bold", pad=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=_TEXT_SIZE, length=3)
    axes.xaxis.label.set(color=INK, fontsize=_TEXT_SIZE)
    axes.yaxis.label.set(color=INK, fontsize=_TEXT_SIZE)
    if grid:
        axes.grid(axis=grid, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)


def _share(share: float) -> str:
    return "none" if np.isnan(share) else percent(share)


def _write_cell(axes: Axes, cell: tuple[int, int], small: tuple[str, str], share: float) -> None:
    row, column = cell
    colour = "white" if share > 0.55 else INK if share > 0 else MUTED
    weight = "bold" if row == column and share > 0 else "normal"
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
    axes.text(column, row - 0.23, _share(share), size=_TEXT_SIZE, weight=weight, **style)
    for line, text in enumerate(small):
        axes.text(column, row + 0.06 + 0.24 * line, text, size=_SMALL_SIZE, **style)


def _plot(axes: Axes, name: str, line: tuple[npt.ArrayLike, npt.ArrayLike], number: str, *, marker: str) -> None:
    colour, dash, *_ = _LINES[name]
    style: dict[str, Any] = {"color": colour, "linewidth": 1.8, "marker": marker, "markersize": 4.5}
    axes.plot(*line, dash, label=f"{name}  {number}", **style)


def _finish(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    _style(axes, title, grid="both")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    # Below the axes: inside, it would hide a curve.
    style: dict[str, Any] = {"frameon": False, "handlelength": 3, "fontsize": _SMALL_SIZE, "labelcolor": INK}
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, **style)
