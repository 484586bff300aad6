"""Precision-recall curves and reliability diagrams."""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.metrics.probabilities import (
    BUILDING,
    MOST_LIKELY,
    average_precision,
    curves_of,
    precision_recall,
    reliability,
)
from xview2_siamese_unet.plots.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SMALL_SIZE,
    new_figure,
    tidy,
)


class _Line(NamedTuple):
    colour: str
    dash: str
    marker: str


_LINES: Final = {
    BUILDING: _Line(PURPLE, "-", "o"),
    MOST_LIKELY: _Line(INK, "-", "s"),
    Damage.NO_DAMAGE.word: _Line(BLUE, "-", "o"),
    Damage.MINOR_DAMAGE.word: _Line("#8a7a00", "--", "s"),
    Damage.MAJOR_DAMAGE.word: _Line(ORANGE, "-.", "^"),
    Damage.DESTROYED.word: _Line("#b2182b", ":", "D"),
}
"""The colours of the classes, darkened to stand on white, each with a dash and a marker of its own."""
_CLASSES: Final = tuple(word for word in _LINES if word not in (BUILDING, MOST_LIKELY))
FEW: Final = 50
"""Pixels below which a bin is not drawn, because its share is noise; the ECE counts it."""
_RECALL: Final = {"Where a building is": (BUILDING,), "What happened to it": _CLASSES}
_RELIABILITY: Final = {"Building, and its most likely class": (BUILDING, MOST_LIKELY), "Each class": _CLASSES}


class _Curve(NamedTuple):
    x: list[float]
    y: list[float]
    label: str


def draw_precision_recall(counts: pd.DataFrame) -> Figure:
    """Return precision-recall curves of what `metrics.probabilities.count_probabilities` returns."""
    figure = new_figure(10, 4.6)
    curves = _recall_curves(counts)
    for axes, (title, names) in zip(figure.subplots(1, 2), _RECALL.items(), strict=True):
        _draw(axes, title, {name: curves[name] for name in names}, markers=False)
        axes.set(xlabel="Recall", ylabel="Precision")
    return figure


def draw_reliability(counts: pd.DataFrame) -> Figure:
    """Return reliability diagrams: a calibrated model lies on the diagonal; `counts` as for the curves."""
    figure = new_figure(10, 4.6)
    curves = _reliability_curves(counts)
    for axes, (title, names) in zip(figure.subplots(1, 2), _RELIABILITY.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
        _draw(axes, title, {name: curves[name] for name in names}, markers=True)
        axes.set(xlabel="Mean predicted probability", ylabel="Observed frequency")
    return figure


def _recall_curves(counts: pd.DataFrame) -> dict[str, _Curve]:
    found = {name: precision_recall(rows) for name, rows in curves_of(counts).items()}
    return {
        name: _Curve(
            curve.recall.tolist(),
            curve.precision.tolist(),
            f"{name}  AP {average_precision(curve):.3f}",
        )
        for name, curve in found.items()
    }


def _reliability_curves(counts: pd.DataFrame) -> dict[str, _Curve]:
    found = {name: reliability(rows) for name, rows in curves_of(counts).items()}
    return {
        name: _Curve(
            curve.said[curve.seen >= FEW].tolist(),
            curve.found[curve.seen >= FEW].tolist(),
            f"{name}  ECE {curve.ece:.3f}",
        )
        for name, curve in found.items()
    }


def _draw(axes: Axes, title: str, curves: dict[str, _Curve], *, markers: bool) -> None:
    tidy(axes, title)
    for name, curve in curves.items():
        line = _LINES[name]
        axes.plot(
            curve.x,
            curve.y,
            line.dash,
            color=line.colour,
            linewidth=1.8,
            label=curve.label,
            marker=line.marker if markers else "",
            markersize=4.5,
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    # Below the axes: in here it would hide the curve of one model or of the next.
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=2,
        frameon=False,
        fontsize=SMALL_SIZE,
        labelcolor=INK,
        handlelength=3,
    )
