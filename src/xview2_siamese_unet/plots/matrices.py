"""Confusion matrices: shade is the share of a row, so that a rare class reads as well as a common one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.plots.style import (
    INK,
    MUTED,
    SMALL_SIZE,
    TEXT_SIZE,
    compact,
    new_figure,
    percent,
    tidy,
)

BUILDING_WORDS: Final = ("background", "building")
DAMAGE_WORDS: Final = tuple(code.word for code in Damage)

IntMatrix = npt.NDArray[np.int64]


def row_shares(matrix: IntMatrix) -> npt.NDArray[np.float64]:
    """Return each row divided by its sum; NaN where a row is empty."""
    sums = matrix.sum(axis=1, keepdims=True).astype(float)
    return np.asarray(matrix / np.where(sums > 0, sums, np.nan))


def draw_matrix(matrix: IntMatrix, words: Sequence[str], title: str, unit: str) -> Figure:
    """Return a confusion matrix: in each cell the share of its row, the count, the share of its column.

    Args:
        matrix: int64 (n, n) counts; rows truth, columns prediction.
        words: the n class names.
        title: heading.
        unit: what is counted.
    """
    shares, column_shares, size = row_shares(matrix), row_shares(matrix.T).T, len(words)
    figure = new_figure(2.6 + 0.95 * size, 1.9 + 0.7 * size)
    axes = figure.subplots()
    tidy(axes, title)
    axes.imshow(shares, cmap=colormaps["Blues"].with_extremes(bad="#f3f4f6"), vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(size, size):
        _write_cell(
            axes,
            (row, column),
            (f"{compact(int(matrix[row, column]))} {_short(unit)}", f"↓ {_share(float(column_shares[row, column]))}"),
            float(shares[row, column]),
        )
    axes.set_xticks(range(size), words, rotation=0 if size < 4 else 25, ha="center" if size < 4 else "right")
    axes.set_yticks(range(size), [f"{w}\n{compact(n)} {unit}" for w, n in zip(words, matrix.sum(axis=1), strict=True)])
    axes.set(xlabel="predicted", ylabel="truth")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    return figure


def _share(share: float) -> str:
    return "none" if np.isnan(share) else percent(share)


def _short(unit: str) -> str:
    return unit if len(unit) < 3 else ""


def _write_cell(axes: Axes, place: tuple[int, int], small: tuple[str, str], share: float) -> None:
    row, column = place
    colour = "white" if share > 0.55 else INK if share > 0 else MUTED
    weight = "bold" if row == column and share > 0 else "normal"
    axes.text(column, row - 0.23, _share(share), ha="center", va="center", color=colour, size=TEXT_SIZE, weight=weight)
    for line, text in enumerate(small):
        axes.text(column, row + 0.06 + 0.24 * line, text, ha="center", va="center", color=colour, size=SMALL_SIZE)
