"""Precision against recall and found against said: is a probability worth its digits?"""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from plotly.subplots import make_subplots

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
    PLOTLY_LAYOUT,
    PURPLE,
    SMALL_SIZE,
    new_figure,
    tidy,
)


class _Line(NamedTuple):
    colour: str
    dash: str
    plotly_dash: str
    marker: str
    plotly_marker: str


_LINES: Final = {
    BUILDING: _Line(PURPLE, "-", "solid", "o", "circle"),
    MOST_LIKELY: _Line(INK, "-", "solid", "s", "square"),
    Damage.NO_DAMAGE.word: _Line(BLUE, "-", "solid", "o", "circle"),
    Damage.MINOR_DAMAGE.word: _Line("#8a7a00", "--", "dash", "s", "square"),
    Damage.MAJOR_DAMAGE.word: _Line(ORANGE, "-.", "dashdot", "^", "triangle-up"),
    Damage.DESTROYED.word: _Line("#b2182b", ":", "dot", "D", "diamond"),
}
"""The colours of the classes, darkened to stand on white, each with a dash and a marker of its own."""
_CLASSES: Final = tuple(word for word in _LINES if word not in (BUILDING, MOST_LIKELY))
FEW: Final = 50
"""Pixels below which a bin is not drawn, for its share says nothing; the ECE counts it."""
_RECALL: Final = {"Where a building is": (BUILDING,), "What happened to it": _CLASSES}
_SAID: Final = {"Building, and its most likely class": (BUILDING, MOST_LIKELY), "Each class": _CLASSES}


class _Curve(NamedTuple):
    x: list[float]
    y: list[float]
    label: str
    hover: list[str]


def draw_precision_recall(counts: pd.DataFrame, *, dpi: int = 150) -> Figure:
    """Return precision against recall for print; `counts` as `metrics.probabilities.count_probabilities` gives them."""
    figure = new_figure(10, 4.6, dpi=dpi)
    curves = _recall_curves(counts)
    for axes, (title, names) in zip(figure.subplots(1, 2), _RECALL.items(), strict=True):
        _draw(axes, title, {name: curves[name] for name in names}, markers=False)
        axes.set(xlabel="recall", ylabel="precision")
    return figure


def plotly_precision_recall(counts: pd.DataFrame) -> go.Figure:
    """Return precision against recall to look into; `counts` as in `draw_precision_recall`."""
    return _plotly(_recall_curves(counts), _RECALL, ("recall", "precision"), markers=False)


def draw_reliability(counts: pd.DataFrame, *, dpi: int = 150) -> Figure:
    """Return how often what was said was true, for print; on the diagonal a probability means what it says."""
    figure = new_figure(10, 4.6, dpi=dpi)
    curves = _said_curves(counts)
    for axes, (title, names) in zip(figure.subplots(1, 2), _SAID.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
        _draw(axes, title, {name: curves[name] for name in names}, markers=True)
        axes.set(xlabel="said: mean probability", ylabel="found: share that is true")
    return figure


def plotly_reliability(counts: pd.DataFrame) -> go.Figure:
    """Return the same to look into; `counts` as in `draw_precision_recall`."""
    figure = _plotly(_said_curves(counts), _SAID, ("said: mean probability", "found: share that is true"), markers=True)
    for column in (1, 2):
        figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": MUTED, "dash": "dot"}, row=1, col=column)
    return figure


def _recall_curves(counts: pd.DataFrame) -> dict[str, _Curve]:
    found = {name: precision_recall(rows) for name, rows in curves_of(counts).items()}
    return {
        name: _Curve(
            curve.recall.tolist(),
            curve.precision.tolist(),
            f"{name}  AP {average_precision(curve):.3f}",
            [f"above a probability of {step:.3f}" for step in curve.probability],
        )
        for name, curve in found.items()
    }


def _said_curves(counts: pd.DataFrame) -> dict[str, _Curve]:
    found = {name: reliability(rows) for name, rows in curves_of(counts).items()}
    return {
        name: _Curve(
            curve.said[curve.seen >= FEW].tolist(),
            curve.found[curve.seen >= FEW].tolist(),
            f"{name}  ECE {curve.ece:.3f}",
            [f"{pixels:,} pixels" for pixels in curve.seen if pixels >= FEW],
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


def _plotly(
    curves: dict[str, _Curve], panels: dict[str, tuple[str, ...]], titles: tuple[str, str], *, markers: bool
) -> go.Figure:
    figure = make_subplots(1, 2, subplot_titles=list(panels), horizontal_spacing=0.12)
    for column, names in enumerate(panels.values(), start=1):
        for name in names:
            curve, line = curves[name], _LINES[name]
            trace = go.Scatter(
                x=curve.x,
                y=curve.y,
                name=curve.label,
                mode="lines+markers" if markers else "lines",
                line={"color": line.colour, "dash": line.plotly_dash},
                marker={"symbol": line.plotly_marker, "size": 8},
                text=curve.hover,
                hovertemplate=f"{titles[0].partition(':')[0]} %{{x:.3f}}, {titles[1].partition(':')[0]} %{{y:.3f}}"
                "<br>%{text}<extra></extra>",
            )
            figure.add_trace(trace, 1, column)
    figure.update_layout(PLOTLY_LAYOUT, legend={"orientation": "h", "y": -0.2})
    figure.update_xaxes(title=titles[0], tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(title=titles[1], tickformat=".0%", range=[-0.02, 1.02])
    return figure
