"""How many pixels each class has: the imbalance that weights and losses answer to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.plots.style import (
    GRID,
    INK,
    MUTED,
    SMALL_SIZE,
    compact,
    new_figure,
    percent,
    tidy,
)

ClassCounts = Mapping[str, Mapping[str, int]]
"""Panel, such as a date (`pre`, `post`) or a split → class word → pixels."""

_TITLES: Final = {
    "pre": "Before the disaster",
    "post": "After the disaster",
    "train": "Training",
    "validation": "Validation",
    "test": "Test",
}
_BUILDING: Final = "#7a5195"
_COLOURS: Final = {"building": _BUILDING, **{code.word: code.colour for code in Damage}, "background": "#4a4f55"}


def draw_class_histogram(counts: ClassCounts) -> Figure:
    """Return one panel of horizontal bars for each key of `counts`, on a logarithmic axis."""
    rows = [max(len(classes), 1) for classes in counts.values()]
    figure = new_figure(10, 1.2 + 0.42 * max(rows))
    end = _axis_end(counts)
    panels = figure.subplots(1, len(counts), squeeze=False, width_ratios=[1] * len(counts))[0]
    for axes, (key, classes) in zip(panels, counts.items(), strict=True):
        _draw_bars(axes, _TITLES.get(key, key), classes)
        axes.set_xlim(1, end)
    return figure


def _axis_end(counts: ClassCounts) -> float:
    """Where the axis ends: it starts at 1, since a logarithm has no 0, and leaves room for the text behind each bar."""
    return float(10 * max(10, *(n for classes in counts.values() for n in classes.values())) ** 1.3)


def _labels(classes: Mapping[str, int]) -> list[str]:
    total = sum(classes.values())
    return [f"{compact(n)} · {percent(n / total)}" if n else "none" for n in classes.values()]


def _draw_bars(axes: Axes, title: str, classes: Mapping[str, int]) -> None:
    tidy(axes, title)
    pixels, places = list(classes.values()), range(len(classes))
    axes.set_xscale("log")
    axes.barh(places, pixels, color=[_COLOURS.get(word, MUTED) for word in classes], edgecolor=INK, linewidth=0.5)
    for place, count, text in zip(places, pixels, _labels(classes), strict=True):
        axes.annotate(
            text, (max(count, 1), place), (5, 0), textcoords="offset points", va="center", size=SMALL_SIZE, color=INK
        )
    axes.set_yticks(places, list(classes))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(xlabel="pixels, logarithmic")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
