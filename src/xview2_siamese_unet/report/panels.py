"""Pictures of scenes and buildings: images, truth, prediction and confidence.

Every class has a colour and a hatch, so that nothing depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.raster.io import LEVELS, NO_DATA, confidence
from xview2_siamese_unet.raster.store import Scene
from xview2_siamese_unet.report.figures import INK, MUTED, compact
from xview2_siamese_unet.report.hatches import chequer, hatch
from xview2_siamese_unet.report.page import percent
from xview2_siamese_unet.types import BoolArray, UInt8Array

Prediction = tuple[UInt8Array, UInt8Array]
"""Predicted codes (h, w) and probabilities in steps of 1/254 (5, h, w)."""
Window = tuple[slice, slice]
Rank = Literal["best", "median", "worst"]

_LARGE: Final = 100
"""Pixels below which a confident wrong class is rather a matter of outlines."""
_SHORT: Final = {Damage.MINOR_DAMAGE: "minor", Damage.MAJOR_DAMAGE: "major"}
_COLUMNS: Final = ("pre-disaster", "post-disaster", "truth", "prediction", "confidence")
_DPI: Final = 100
_GAP, _MARGIN, _HEAD, _CAPTION, _LEGEND = 8, 16, 38, 58, 92
_POINTS: Final = 72 / _DPI
"""Points in a pixel of the figure: text is sized in pixels, so that it fits the rows whatever their size."""
# Dark to light at an even pace, in any kind of colour vision and in print.
_CONFIDENCE: Final = colormaps["cividis"](np.arange(256) / LEVELS, bytes=True)[:, :3]


def choose_scenes(scores: pd.Series[float], *, best: int, median: int, worst: int) -> dict[str, Rank]:
    """Return scene → rank, best first; no scene twice."""
    order = [str(scene) for scene in scores.sort_values(ascending=False, kind="stable").index]
    top, rest = order[:best], order[best:]
    bottom = rest[max(len(rest) - worst, 0) :]
    between = rest[: len(rest) - len(bottom)]
    start = max((len(between) - median + 1) // 2, 0)
    chosen: dict[str, Rank] = dict.fromkeys(top, "best")
    return chosen | dict.fromkeys(between[start : start + median], "median") | dict.fromkeys(bottom, "worst")


def worst_buildings(matches: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the most confident wrong classes, then the largest missed buildings.

    Half of `most` each, and more wrong classes if fewer were missed. Un-classified buildings and
    buildings below 10 × 10 pixels do not count as wrong.
    """
    missed = matches[matches["predicted"] == 0].nlargest(most // 2, "pixels")
    candidate = (matches["predicted"] > 0) & (matches["pixels"] >= _LARGE) & matches["confidence"].notna()
    wrong = (matches["predicted"] != matches["truth"]) & (matches["truth"] != Damage.UNCLASSIFIED)
    return pd.concat([matches[candidate & wrong].nlargest(most - len(missed), "confidence"), missed])


@dataclass(frozen=True, slots=True)
class PanelRow:
    """One row of the figure.

    Attributes:
        scene: its name.
        note: why it is shown, such as `best · scene score 0.81`.
        detail: a second line.
        pre, post: the shown part of both images, uint8 (h, w, 3).
        truth, predicted: codes of `Damage`, uint8 (h, w).
        confidence: probability of the predicted class in steps of 1/254, uint8 (h, w); 255 without one.
        frame: what to mark in each picture: top, left, bottom, right.
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


def scene_row(name: str, note: str, scene: Scene, prediction: Prediction, window: int | None) -> PanelRow:
    """Return the square of a scene with most buildings.

    Args:
        name: of the scene.
        note: why it is shown.
        scene: images and truth.
        prediction: codes and probabilities.
        window: side of the square in pixels; `None` shows the whole scene.
    """
    truth, codes = scene.damage, prediction[0]
    part = densest_window((truth > 0) | (codes > 0), window)
    shown = tuple(axis.stop - axis.start for axis in part)
    if shown != truth.shape:
        note = f"{note} · shown: {shown[1]} × {shown[0]} of {truth.shape[1]} × {truth.shape[0]} px"
    counts = [np.bincount(mask.ravel(), minlength=N_CODES) for mask in (truth, codes)]
    parts = [
        f"{_SHORT.get(code, code.word)} {compact(counts[0][code])}→{compact(counts[1][code])}"
        for code in Damage
        if code is not Damage.BACKGROUND and counts[0][code] + counts[1][code]
    ]
    detail = "pixels, truth→prediction: " + (" · ".join(parts) or "no building in either")
    return _row(name, (note, detail), scene, prediction, part)


def building_row(building: Mapping[Any, Any], scene: Scene, prediction: Prediction, window: int = 96) -> PanelRow:
    """Return the square around a wrongly predicted building, the building framed.

    Args:
        building: one row of `metrics.buildings.MATCH_COLUMNS`.
        scene: images and truth.
        prediction: codes and probabilities.
        window: side of the square in pixels; a larger building is shown whole.
    """
    height, width = prediction[0].shape
    frame = tuple(int(building[edge]) for edge in ("top", "left", "bottom", "right"))
    part = centred_window(frame, (height, width), window)
    top, left = part[0].start, part[1].start
    inside = (frame[0] - top, frame[1] - left, frame[2] - top, frame[3] - left)
    truth, predicted = Damage(int(building["truth"])), Damage(int(building["predicted"]))
    words = f"truth: {truth.word if truth else 'no building that matches'} · prediction: "
    words += predicted.word if predicted else "no building that matches"
    note = "missed" if not predicted else "wrong class" if truth else "false alarm"
    note += f" · confidence {percent(float(building['confidence']))} · {compact(int(building['pixels']))} px"
    return _row(str(building["scene"]), (note, words), scene, prediction, part, inside)


def _row(
    name: str,
    texts: tuple[str, str],
    scene: Scene,
    prediction: Prediction,
    part: Window,
    frame: tuple[int, int, int, int] | None = None,
) -> PanelRow:
    codes, probabilities = prediction
    layers = scene.pre, scene.post, scene.damage, codes, confidence(probabilities, codes)
    pre, post, truth, predicted, probability = (layer[part] for layer in layers)
    return PanelRow(name, *texts, pre, post, truth, predicted, probability, frame)


def densest_window(mask: BoolArray, side: int | None) -> Window:
    """Return rows and columns of the square with most of a mask, bool (h, w).

    The first such square in steps of an eighth of its side; the whole axis if `side` is `None` or longer.
    """
    height, width = (min(side or size, size) for size in mask.shape)
    step = max(min(height, width) // 8, 1)
    sums = np.pad(mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    # The last start touches the far edge, whatever the step.
    tops, lefts = (
        np.append(np.arange(0, size - window, step), size - window)
        for size, window in zip(mask.shape, (height, width), strict=True)
    )
    below, right = tops + height, lefts + width
    held = (
        sums[np.ix_(below, right)] - sums[np.ix_(tops, right)] - sums[np.ix_(below, lefts)] + sums[np.ix_(tops, lefts)]
    )
    row, column = np.unravel_index(held.argmax(), held.shape)
    top, left = int(tops[row]), int(lefts[column])
    return slice(top, top + height), slice(left, left + width)


def centred_window(frame: tuple[int, ...], shape: tuple[int, int], side: int) -> Window:
    """Return rows and columns of a square of pixels around a frame.

    It is moved inside the scene, and enlarged to the size of a larger frame.

    Args:
        frame: top, left, bottom, right.
        shape: height and width of the scene.
        side: of the square.
    """
    top, left, bottom, right = frame
    side = max(side, bottom - top, right - left)
    starts = [
        min(max((low + high - side) // 2, 0), max(size - side, 0))
        for low, high, size in ((top, bottom, shape[0]), (left, right, shape[1]))
    ]
    rows, columns = (slice(start, min(start + side, size)) for start, size in zip(starts, shape, strict=True))
    return rows, columns


def draw_panels(rows: Iterable[PanelRow], *, side: int, empty: str = "No scene with a building to show.") -> Figure:
    """Return one row of five pictures each.

    Keeps only the scaled pictures, so `rows` may be a generator.

    Args:
        rows: what to show.
        side: longer side of each picture in pixels.
        empty: text of a figure without rows.
    """
    strips: list[UInt8Array] = []
    texts: list[tuple[str, str, str]] = []
    frames: list[tuple[float, ...] | None] = []
    for row in rows:
        strips.append(_strip(row, side))
        texts.append((row.scene, row.note, row.detail))
        scale = side / max(row.truth.shape)
        frames.append(row.frame and tuple(scale * edge for edge in row.frame))
    pitch = side + _GAP
    body = np.vstack(strips) if strips else np.full((_CAPTION, pitch * len(_COLUMNS), 3), 255, np.uint8)
    canvas = np.pad(body, ((_HEAD, _LEGEND), (_MARGIN, _MARGIN - _GAP), (0, 0)), constant_values=255)
    height, width, _ = canvas.shape
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    _show(axes, canvas, (0, 0))
    for number, word in enumerate(_COLUMNS):
        _write(axes, (_MARGIN + number * pitch, 26), word, 19, color=MUTED)
    for number, ((scene, note, detail), frame) in enumerate(zip(texts, frames, strict=True)):
        top = _HEAD + number * (_CAPTION + pitch)
        _write(axes, (_MARGIN, top + 22), scene, 19, color=INK, weight="bold")
        _write(axes, (width - _MARGIN, top + 22), note, 17, color=INK, ha="right")
        _write(axes, (_MARGIN, top + 46), detail, 15.5, color=MUTED)
        if frame is not None:
            _draw_frames(axes, top + _CAPTION, side, frame)
    if not texts:
        _write(axes, (_MARGIN, _HEAD + 30), empty, 16, color=INK)
    _draw_legend(axes, height - _LEGEND, width)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure


def _strip(row: PanelRow, side: int) -> UInt8Array:
    pictures = (
        show_image(row.pre, side),
        show_image(row.post, side),
        show_codes(row.truth, row.post, side),
        show_codes(row.predicted, row.post, side),
        show_confidence(row.confidence, side),
    )
    room = side + _GAP
    return np.hstack(
        [
            np.pad(each, ((_CAPTION, room - each.shape[0]), (0, room - each.shape[1]), (0, 0)), constant_values=255)
            for each in pictures
        ]
    )


def _draw_legend(axes: Axes, top: int, width: int) -> None:
    blank = np.full((16, 28, 3), 255, np.uint8)
    swatches = {code.word: hatch(np.full((16, 28), code, np.uint8), blank) for code in Damage if code}
    swatches["no data"] = chequer((16, 28))
    step = min((width - 2 * _MARGIN) // len(swatches), 200)
    for number, (word, swatch) in enumerate(swatches.items()):
        left = _MARGIN + number * step
        _show(axes, swatch, (left, top + 14))
        _write(axes, (left + 36, top + 28), word, 17, color=INK)
    _show(axes, np.repeat(_CONFIDENCE[None, :LEVELS], 16, axis=0), (_MARGIN, top + 54))
    for text, share in {"0": 0.0, "0.5": 0.5, "1": 1.0}.items():
        _write(axes, (_MARGIN + share * LEVELS, top + 86), text, 14, color=MUTED, ha="center" if share else "left")
    _write(axes, (_MARGIN + LEVELS + 14, top + 68), "confidence: probability of the predicted class", 17, color=INK)


def _draw_frames(axes: Axes, top: int, side: int, frame: tuple[float, ...]) -> None:
    """Mark one building in each picture with a white line on a black one."""
    edges = [min(max(edge + room, 1), side - 1) for edge, room in zip(frame, (-4, -4, 4, 4), strict=True)]
    for left in range(_MARGIN, _MARGIN + len(_COLUMNS) * (side + _GAP), side + _GAP):
        for colour, width in (("black", 3.0), ("white", 1.3)):
            corner, size = (left + edges[1], top + edges[0]), (edges[3] - edges[1], edges[2] - edges[0])
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width))


def _show(axes: Axes, picture: UInt8Array, corner: tuple[int, int]) -> None:
    """Show a picture pixel by pixel, its upper left corner at x and y."""
    (x, y), (height, width) = corner, picture.shape[:2]
    axes.imshow(picture, interpolation="nearest", aspect="auto", extent=(x, x + width, y + height, y))


def _write(axes: Axes, position: tuple[float, float], text: str, size: float, **style: str) -> None:
    # Scene names are data: a `$` in one does not start mathematics.
    font = {"fontsize": size * _POINTS, "va": "baseline", **style}
    axes.text(*position, text, fontdict=font, parse_math=False)


def resize(array: UInt8Array, side: int, resample: Image.Resampling) -> UInt8Array:
    """Return an image or a mask scaled to a longer side of `side` pixels."""
    height, width = array.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size, resample))


def show_image(image: UInt8Array, side: int) -> UInt8Array:
    """Return a scaled image, uint8 (h, w, 3); a chequer marks pixels without data."""
    return _mark_no_data(resize(image, side, Image.Resampling.BOX), _no_data(image, side))


def show_codes(codes: UInt8Array, image: UInt8Array, side: int) -> UInt8Array:
    """Return class codes, uint8 (h, w), over a dimmed grey image, both scaled."""
    grey = resize(image, side, Image.Resampling.BOX).mean(axis=2, keepdims=True)
    dimmed = np.broadcast_to(40 + 0.35 * grey, (*grey.shape[:2], 3)).astype(np.uint8)
    # Hatches are drawn after scaling, which would blur them.
    return hatch(resize(codes, side, Image.Resampling.NEAREST), _mark_no_data(dimmed, _no_data(image, side)))


def show_confidence(confidences: UInt8Array, side: int) -> UInt8Array:
    """Return probabilities in steps of 1/254, uint8 (h, w), as colour; 255: no data."""
    small = resize(confidences, side, Image.Resampling.NEAREST)
    return _mark_no_data(_CONFIDENCE[small], small == NO_DATA)


def _no_data(image: UInt8Array, side: int) -> BoolArray:
    nothing = (image == 0).all(axis=2).astype(np.uint8)
    return resize(nothing, side, Image.Resampling.NEAREST) > 0


def _mark_no_data(picture: UInt8Array, nothing: BoolArray) -> UInt8Array:
    return np.where(nothing[..., None], chequer(nothing.shape), picture)
