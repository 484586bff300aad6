"""Scenes to look at: before, after, truth and prediction side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.plots.paint import chequer, show_codes, show_image, weave
from xview2_siamese_unet.plots.style import INK, MUTED, compact
from xview2_siamese_unet.plots.window import densest_window

UInt8Array = npt.NDArray[np.uint8]

_COLUMNS: Final = ("before", "after", "truth", "prediction")
_SHORT: Final = {Damage.MINOR_DAMAGE: "minor", Damage.MAJOR_DAMAGE: "major"}
_DPI: Final = 100
_GAP, _MARGIN, _HEAD, _CAPTION, _LEGEND = 8, 16, 38, 58, 50
_POINTS: Final = 72 / _DPI
"""Points in a pixel of the figure: text is sized in pixels, so that it fits the rows whatever their size."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    """One scene of the figure.

    Attributes:
        scene: its name.
        note: what makes it worth a look, such as `best · scene score 0.81`.
        pre, post: images, uint8 (h, w, 3).
        truth, predicted: codes of `Damage`, uint8 (h, w).
    """

    scene: str
    note: str
    pre: UInt8Array
    post: UInt8Array
    truth: UInt8Array
    predicted: UInt8Array


def draw_panels(rows: Iterable[PanelRow], *, side: int, window: int | None = None) -> Figure:
    """Return one row of four pictures a scene; keeps only the shrunken pictures, so `rows` may be a generator.

    Args:
        rows: the scenes; none gives a figure that says so.
        side: longer side of each picture in pixels.
        window: side of the square of the scene that is shown, where most buildings are; `None` shows all of it.
    """
    strips: list[UInt8Array] = []
    captions: list[tuple[str, str, str]] = []
    for row in rows:
        part = densest_window((row.truth > 0) | (row.predicted > 0), window)
        strips.append(_strip(row, part, side))
        captions.append((row.scene, _note(row, part), _pixel_line(row)))
    width = 2 * _MARGIN + 4 * side + 3 * _GAP
    body = np.vstack(strips) if strips else np.full((_CAPTION, width, 3), 255, np.uint8)
    frame = [np.full((height, width, 3), 255, np.uint8) for height in (_HEAD, _LEGEND)]
    canvas = np.vstack([frame[0], body, frame[1]])
    places = _draw_swatches(canvas, canvas.shape[0] - _LEGEND + 14)
    figure, axes = _canvas_figure(canvas)
    for number, word in enumerate(_COLUMNS):
        _write(axes, (_MARGIN + number * (side + _GAP), 26), word, 19, color=MUTED)
    for number, caption in enumerate(captions):
        _write_caption(axes, _HEAD + number * strips[0].shape[0], width, caption)
    if not captions:
        _write(axes, (_MARGIN, _HEAD + 30), "No scene with a building to show.", 16, color=INK)
    for word, place in places.items():
        _write(axes, (place + 36, canvas.shape[0] - _LEGEND + 28), word, 17, color=INK)
    return figure


def _strip(row: PanelRow, part: tuple[slice, slice], side: int) -> UInt8Array:
    strip = np.full((_CAPTION + side + _GAP, 2 * _MARGIN + 4 * side + 3 * _GAP, 3), 255, np.uint8)
    pictures = (
        show_image(row.pre[part], side),
        show_image(row.post[part], side),
        show_codes(row.truth[part], row.post[part], side),
        show_codes(row.predicted[part], row.post[part], side),
    )
    for number, picture in enumerate(pictures):
        left = _MARGIN + number * (side + _GAP)
        strip[_CAPTION : _CAPTION + picture.shape[0], left : left + picture.shape[1]] = picture
    return strip


def _note(row: PanelRow, part: tuple[slice, slice]) -> str:
    shown = tuple(axis.stop - axis.start for axis in part)
    if shown == row.truth.shape:
        return row.note
    return f"{row.note} · shown: {shown[1]} × {shown[0]} of {row.truth.shape[1]} × {row.truth.shape[0]} px"


def _pixel_line(row: PanelRow) -> str:
    truth, predicted = (np.bincount(m.ravel(), minlength=N_CODES) for m in (row.truth, row.predicted))
    parts = [
        f"{_SHORT.get(code, code.word)} {compact(truth[code])}→{compact(predicted[code])}"
        for code in Damage
        if code is not Damage.BACKGROUND and truth[code] + predicted[code]
    ]
    return "pixels, truth→prediction: " + (" · ".join(parts) or "no building in either")


def _draw_swatches(canvas: UInt8Array, top: int) -> dict[str, int]:
    """Paint the legend into the canvas and return where each word goes."""
    blank = np.full((16, 28, 3), 255, np.uint8)
    swatches = {
        code.word: weave(np.full(blank.shape[:2], code, np.uint8), blank)
        for code in Damage
        if code is not Damage.BACKGROUND
    }
    swatches["no data"] = chequer(blank.shape[:2])
    step = min((canvas.shape[1] - 2 * _MARGIN) // len(swatches), 200)
    places = {word: _MARGIN + number * step for number, word in enumerate(swatches)}
    for word, left in places.items():
        canvas[top : top + 16, left : left + 28] = swatches[word]
    return places


def _canvas_figure(canvas: UInt8Array) -> tuple[Figure, Axes]:
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
    axes.set_axis_off()
    return figure, axes


def _write_caption(axes: Axes, top: int, width: int, caption: tuple[str, str, str]) -> None:
    scene, note, pixels = caption
    _write(axes, (_MARGIN, top + 22), scene, 19, color=INK, weight="bold")
    _write(axes, (width - _MARGIN, top + 22), note, 17, color=INK, ha="right")
    _write(axes, (_MARGIN, top + 46), pixels, 15.5, color=MUTED)


def _write(axes: Axes, place: tuple[float, float], text: str, size: float, **style: str) -> None:
    # Scene names are data: a `$` in one is no mathematics.
    font = {"fontsize": size * _POINTS, "va": "baseline", **style}
    axes.text(*place, text, fontdict=font, parse_math=False)
