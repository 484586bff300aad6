"""Training curves: losses and validation scores against the epoch, the best epoch marked."""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from xview2_siamese_unet.plots.style import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PLOTLY_LAYOUT,
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
    plotly_dash: str


_PANELS: Final[dict[str, tuple[_Line, ...]]] = {
    "Loss": (
        _Line("train_loss", "training loss", MUTED, "--", "dash"),
        _Line("validation_loss", "validation loss", BLUE, "-", "solid"),
    ),
    "Validation score": (
        _Line("validation_score", "official score", PURPLE, "-", "solid"),
        _Line("validation_localization_f1", "localisation F1", GREEN, "--", "dash"),
        _Line("validation_damage_f1", "damage F1", ORANGE, ":", "dot"),
    ),
}


def best_epoch(history: pd.DataFrame) -> int | None:
    """Return the first epoch with the highest validation score; `None` where no epoch was validated."""
    validated = history.dropna(subset="validation_score")
    return None if validated.empty else int(validated["epoch"].iloc[validated["validation_score"].to_numpy().argmax()])


def draw_curves(history: pd.DataFrame, *, dpi: int = 150) -> Figure:
    """Return training curves for print.

    Args:
        history: one row an epoch; columns epoch, train_loss, validation_loss, validation_score,
            validation_localization_f1, validation_damage_f1; NaN leaves a gap.
        dpi: dots per inch when saved as pixels.
    """
    figure = new_figure(10, 3.8, dpi=dpi)
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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_ylim(bottom=0)
        if best is not None:
            text = _best_text(history, best) if "score" in title else None
            axes.axvline(best, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0, label=text)
        axes.legend(edgecolor="none", framealpha=0.9, fontsize=TEXT_SIZE, labelcolor=INK, loc="best", handlelength=2.6)
    return figure


def plotly_curves(history: pd.DataFrame) -> go.Figure:
    """Return training curves to look into; `history` as in `draw_curves`."""
    figure = make_subplots(1, 2, subplot_titles=list(_PANELS), horizontal_spacing=0.1)
    for column, lines in enumerate(_PANELS.values(), start=1):
        for line in lines:
            trace = go.Scatter(
                x=history["epoch"].tolist(),
                y=[None if pd.isna(value) else float(value) for value in history[line.column]],
                name=line.label,
                mode="lines+markers",
                line={"color": line.colour, "dash": line.plotly_dash},
                hovertemplate="%{y:.4f}",
            )
            figure.add_trace(trace, 1, column)
    figure.update_layout(PLOTLY_LAYOUT, hovermode="x unified", legend={"orientation": "h", "y": -0.2})
    figure.update_xaxes(title="epoch", tickformat="d")
    figure.update_yaxes(rangemode="tozero")
    best = best_epoch(history)
    if best is not None:
        figure.add_vline(best, line_dash="dot", line_color=INK, line_width=1)
        figure.update_layout(title=_best_text(history, best))
    return figure


def _best_text(history: pd.DataFrame, best: int) -> str:
    return f"highest score {history.loc[history['epoch'] == best, 'validation_score'].max():.3f}, epoch {best}"
