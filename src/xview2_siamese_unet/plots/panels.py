"""Scenes and buildings to look at: before, after, truth, prediction and its confidence side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.plots.paint import chequer, show_codes, show_image, show_shares, weave
from xview2_siamese_unet.plots.style import INK, MUTED

UInt8Array = npt.NDArray[np.uint8]
Window = tuple[slice, slice]

_COLUMNS: Final = ("before", "after", "truth", "prediction", "confidence")
_DPI: Final = 100
_GAP, _MARGIN, _HEAD, _CAPTION, _LEGEND = 8, 16, 38, 58, 92
_BAR: Final = 254
_POINTS: Final = 72 / _DPI
"""Points in a pixel of the figure: text is sized in pixels, so that it fits the rows whatever their size."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    """One row of the figure.

    Attributes:
        scene: its name.
        note: what makes it worth a look, such as `best · scene score 0.81`.
        detail: a second line.
        pre, post: the part to show of both images, uint8 (h, w, 3).
        truth, predicted: codes of `Damage`, uint8 (h, w).
        confidence: probability of the answer in steps of 1/254, uint8 (h, w); 255 where it has none.
        frame: what to mark in each picture: top, left, bottom, right; `None` marks nothing.
    """

    scene: str
    note: str
    detail: str
    pre: UInt8Array
    post: UInt8Array
    truth: UInt8Array
    predicted: UInt8Array
    confidence: UInt8Array
    frame: tuple[int, int, int, int] | None = None


def draw_panels(rows: Iterable[PanelRow], *, side: int, empty: str = "No scene with a building to show.") -> Figure:
    """Return one row of five pictures each; keeps only the shrunken pictures, so `rows` may be a generator.

    Args:
        rows: what to show.
        side: longer side of each picture in pixels.
        empty: what the figure says where there is no row.
    """
    strips: list[UInt8Array] = []
    captions: list[tuple[str, str, str]] = []
    marks: list[tuple[float, ...] | None] = []
    for row in rows:
        strips.append(_strip(row, side))
        captions.append((row.scene, row.note, row.detail))
        scale = side / max(row.truth.shape)
        marks.append(None if row.frame is None else tuple(scale * edge for edge in row.frame))
    body = np.vstack(strips) if strips else np.full((_CAPTION, _width(side), 3), 255, np.uint8)
    frame = [np.full((height, body.shape[1], 3), 255, np.uint8) for height in (_HEAD, _LEGEND)]
    canvas = np.vstack([frame[0], body, frame[1]])
    places = _draw_swatches(canvas, canvas.shape[0] - _LEGEND + 14)
    figure, axes = _canvas_figure(canvas)
    for number, word in enumerate(_COLUMNS):
        _write(axes, (_left(number, side), 26), word, 19, color=MUTED)
    for number, (caption, mark) in enumerate(zip(captions, marks, strict=True)):
        top = _HEAD + number * strips[0].shape[0]
        _write_caption(axes, top, body.shape[1], caption)
        _draw_frames(axes, top + _CAPTION, side, mark)
    if not captions:
        _write(axes, (_MARGIN, _HEAD + 30), empty, 16, color=INK)
    _write_legend(axes, places, canvas.shape[0] - _LEGEND)
    return figure


def _width(side: int) -> int:
    return 2 * _MARGIN + len(_COLUMNS) * side + (len(_COLUMNS) - 1) * _GAP


def _left(number: int, side: int) -> int:
    return _MARGIN + number * (side + _GAP)


def _strip(row: PanelRow, side: int) -> UInt8Array:
    strip = np.full((_CAPTION + side + _GAP, _width(side), 3), 255, np.uint8)
    pictures = (
        show_image(row.pre, side),
        show_image(row.post, side),
        show_codes(row.truth, row.post, side),
        show_codes(row.predicted, row.post, side),
        show_shares(row.confidence, side),
    )
    for number, picture in enumerate(pictures):
        left = _left(number, side)
        strip[_CAPTION : _CAPTION + picture.shape[0], left : left + picture.shape[1]] = picture
    return strip


def _draw_swatches(canvas: UInt8Array, top: int) -> dict[str, int]:
    """Paint the legend into the canvas and return where each word of its first line goes."""
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
    ramp = np.repeat(np.arange(_BAR + 1, dtype=np.uint8)[None, :_BAR], 16, axis=0)
    canvas[top + 40 : top + 56, _MARGIN : _MARGIN + _BAR] = show_shares(ramp, _BAR)
    return places


def _write_legend(axes: Axes, places: dict[str, int], top: int) -> None:
    for word, place in places.items():
        _write(axes, (place + 36, top + 28), word, 17, color=INK)
    for text, share in {"0": 0.0, "0.5": 0.5, "1": 1.0}.items():
        _write(axes, (_MARGIN + share * _BAR, top + 86), text, 14, color=MUTED, ha="center" if share else "left")
    _write(axes, (_MARGIN + _BAR + 14, top + 68), "confidence: probability of the answer", 17, color=INK)


def _draw_frames(axes: Axes, top: int, side: int, mark: tuple[float, ...] | None) -> None:
    """Mark one building in each picture: a white line on a black one stands out from any ground."""
    if mark is None:
        return
    for number in range(len(_COLUMNS)):
        edges = [min(max(edge + room, 1), side - 1) for edge, room in zip(mark, (-4, -4, 4, 4), strict=True)]
        corner, size = (_left(number, side) + edges[1], top + edges[0]), (edges[3] - edges[1], edges[2] - edges[0])
        for colour, width in (("black", 3.0), ("white", 1.3)):
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width))


def _canvas_figure(canvas: UInt8Array) -> tuple[Figure, Axes]:
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
    axes.set_axis_off()
    return figure, axes


def _write_caption(axes: Axes, top: int, width: int, caption: tuple[str, str, str]) -> None:
    scene, note, detail = caption
    _write(axes, (_MARGIN, top + 22), scene, 19, color=INK, weight="bold")
    _write(axes, (width - _MARGIN, top + 22), note, 17, color=INK, ha="right")
    _write(axes, (_MARGIN, top + 46), detail, 15.5, color=MUTED)


def _write(axes: Axes, place: tuple[float, float], text: str, size: float, **style: str) -> None:
    # Scene names are data: a `$` in one is no mathematics.
    font = {"fontsize": size * _POINTS, "va": "baseline", **style}
    axes.text(*place, text, fontdict=font, parse_math=False)
