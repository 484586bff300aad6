"""What all figures share: ink, sizes, and no state outside the figure.

Figures are `matplotlib.figure.Figure` objects without pyplot, so that drawing one leaves nothing behind.
"""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#1f2933"
MUTED: Final = "#5b6770"
GRID: Final = "#e4e8ec"
BLUE: Final = "#0b5fa5"
ORANGE: Final = "#c2570c"
GREEN: Final = "#2b7a4b"
PURPLE: Final = "#6a3d9a"

TITLE_SIZE: Final = 12
TEXT_SIZE: Final = 10
SMALL_SIZE: Final = 8.5


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of a size in inches that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(axes: Axes, title: str) -> None:
    """Leave only what carries data: a left-aligned title, two thin spines, muted ticks."""
    axes.set_title(title, loc="left", fontsize=TITLE_SIZE, color=INK, fontweight="bold", pad=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=TEXT_SIZE, length=3)
    axes.xaxis.label.set(color=INK, fontsize=TEXT_SIZE)
    axes.yaxis.label.set(color=INK, fontsize=TEXT_SIZE)


def compact(count: float) -> str:
    """Return a count in three or four characters: 940, 12.3k, 4.56M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g}{unit}" if count < 999.5 * limit else f"{count / limit:.0f}{unit}"
    return f"{count:.0f}"


def percent(share: float) -> str:
    """Return a share as text that never rounds something to nothing: 12.3 %, 0.04 %, < 0.01 %."""
    if share == 0:
        return "0 %"
    if share < 1e-4:
        return "< 0.01 %"
    return f"{100 * share:.1f} %" if share >= 1e-3 else f"{100 * share:.2f} %"
