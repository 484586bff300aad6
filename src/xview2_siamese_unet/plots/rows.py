"""Scenes and buildings → rows of a figure of panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.plots.panels import PanelRow, Window
from xview2_siamese_unet.plots.style import compact, percent
from xview2_siamese_unet.plots.window import centred_window, densest_window
from xview2_siamese_unet.raster.io import confidence
from xview2_siamese_unet.raster.store import Scene

UInt8Array = npt.NDArray[np.uint8]
_SHORT: Final = {Damage.MINOR_DAMAGE: "minor", Damage.MAJOR_DAMAGE: "major"}


def scene_row(
    name: str, note: str, scene: Scene, answer: tuple[UInt8Array, UInt8Array], window: int | None
) -> PanelRow:
    """Return the part of a scene where most buildings are.

    Args:
        name: of the scene.
        note: what makes it worth a look.
        scene: images and truth.
        answer: predicted codes (h, w) and probabilities in steps of 1/254 (5, h, w).
        window: side of the square in pixels; `None` shows all of the scene.
    """
    truth, (codes, shares) = scene.damage, answer
    part = densest_window((truth > 0) | (codes > 0), window)
    shown = tuple(axis.stop - axis.start for axis in part)
    if shown != truth.shape:
        note = f"{note} · shown: {shown[1]} × {shown[0]} of {truth.shape[1]} × {truth.shape[0]} px"
    return _row(name, (note, _pixel_line(truth, codes)), scene, (codes, confidence(shares, codes)), part)


def building_row(
    building: Mapping[Any, Any], scene: Scene, answer: tuple[UInt8Array, UInt8Array], window: int
) -> PanelRow:
    """Return the surroundings of a building that was answered wrongly, the building framed.

    Args:
        building: one row of `metrics.matching.MATCH_COLUMNS`.
        scene: images and truth.
        answer: predicted codes (h, w) and probabilities in steps of 1/254 (5, h, w).
        window: side of the square in pixels; a larger building is shown whole.
    """
    codes, shares = answer
    frame = tuple(int(building[edge]) for edge in ("top", "left", "bottom", "right"))
    part = centred_window(frame, (codes.shape[0], codes.shape[1]), window)
    top, left = part[0].start, part[1].start
    inside = (frame[0] - top, frame[1] - left, frame[2] - top, frame[3] - left)
    truth, predicted = Damage(int(building["truth"])), Damage(int(building["predicted"]))
    answer_word = predicted.word if predicted else "no building that covers half of it"
    words = f"truth: {truth.word if truth else 'no building that is half covered'} · prediction: {answer_word}"
    note = "missed" if not predicted else "wrong class" if truth else "false alarm"
    detail = f"confidence {percent(float(building['confidence']))} · {compact(int(building['pixels']))} px"
    row = (codes, confidence(shares, codes))
    return _row(str(building["scene"]), (f"{note} · {detail}", words), scene, row, part, inside)


def _row(
    name: str,
    texts: tuple[str, str],
    scene: Scene,
    answer: tuple[UInt8Array, UInt8Array],
    part: Window,
    frame: tuple[int, int, int, int] | None = None,
) -> PanelRow:
    pre, post, truth, predicted, sure = (each[part] for each in (scene.pre, scene.post, scene.damage, *answer))
    return PanelRow(name, *texts, pre, post, truth, predicted, sure, frame)


def _pixel_line(truth: UInt8Array, predicted: UInt8Array) -> str:
    counts = [np.bincount(mask.ravel(), minlength=N_CODES) for mask in (truth, predicted)]
    parts = [
        f"{_SHORT.get(code, code.word)} {compact(counts[0][code])}→{compact(counts[1][code])}"
        for code in Damage
        if code is not Damage.BACKGROUND and counts[0][code] + counts[1][code]
    ]
    return "pixels, truth→prediction: " + (" · ".join(parts) or "no building in either")
