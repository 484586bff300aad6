"""Training curves: losses and validation scores against the epoch, the best epoch marked."""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xview2_siamese_unet.plots.style import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    TEXT_SIZE,
    new_figure,
    tidy,
)


class _Line(NamedTuple):
    column: str
    label: str
    colour: str
    dash: str


_PANELS: Final[dict[str, tuple[_Line, ...]]] = {
    "Loss": (
        _Line("train_loss", "training loss", MUTED, "--"),
        _Line("validation_loss", "validation loss", BLUE, "-"),
    ),
    "Validation score": (
        _Line("validation_score", "official score", PURPLE, "-"),
        _Line("validation_localization_f1", "localisation F1", GREEN, "--"),
        _Line("validation_damage_f1", "damage F1", ORANGE, ":"),
    ),
}


def best_epoch(history: pd.DataFrame) -> int | None:
    """Return the first epoch with the highest validation score; `None` where no epoch was validated."""
    validated = history.dropna(subset="validation_score")
    return None if validated.empty else int(validated["epoch"].iloc[validated["validation_score"].to_numpy().argmax()])


def draw_curves(history: pd.DataFrame) -> Figure:
    """Return training curves.

    Args:
        history: one row an epoch; columns epoch, train_loss, validation_loss, validation_score,
            validation_localization_f1, validation_damage_f1; NaN leaves a gap.
    """
    figure = new_figure(10, 3.8)
    best = best_epoch(history)
    for axes, (title, lines) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
        tidy(axes, title)
        for line in lines:
            axes.plot(
                history["epoch"],
                history[line.column],
                line.dash,
                color=line.colour,
                label=line.label,
                linewidth=1.8,
                marker="o" if len(history) <= 30 else None,
                markersize=3.5,
            )
        axes.set(xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(history):
            axes.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_ylim(bottom=0)
        if best is not None:
            text = _best_text(history, best) if "score" in title else None
            axes.axvline(best, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0, label=text)
        axes.legend(edgecolor="none", framealpha=0.9, fontsize=TEXT_SIZE, labelcolor=INK, loc="best", handlelength=2.6)
    return figure


def _best_text(history: pd.DataFrame, best: int) -> str:
    return f"highest score {history.loc[history['epoch'] == best, 'validation_score'].max():.3f}, epoch {best}"
