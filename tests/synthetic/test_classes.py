"""Classes must differ in the appearance of buildings, not only in colour."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sample_on_disk import SIZE, Sample, ring

from xview2_siamese_unet.damage import IGNORE, SCORED, Damage
from xview2_siamese_unet.xbd.scenes import Phase

_BINS = 8

pytestmark = pytest.mark.slow


def pixels(sample: Sample, tiers: tuple[str, ...], phase: Phase) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return colour (one of 512 bins) and class of all building pixels of the tiers."""
    colours, classes = [], []
    for scene in (s for s in sample.scenes if s.tier in tiers):
        mask = Image.new("L", (SIZE, SIZE), IGNORE)
        for building in sample.label(scene, "post").buildings:
            if building.damage in SCORED:
                corners = [(float(x), float(y)) for x, y in ring(building.xy)]
                ImageDraw.Draw(mask).polygon(corners, fill=int(building.damage))
        inside = np.asarray(mask) != IGNORE
        red, green, blue = np.moveaxis(sample.image(scene, phase)[inside].astype(np.int64) * _BINS // 256, 1, 0)
        colours.append((red * _BINS + green) * _BINS + blue)
        classes.append(np.asarray(mask)[inside].astype(np.int64))
    return np.concatenate(colours), np.concatenate(classes)


def balanced_accuracy_by_colour(sample: Sample, phase: Phase) -> float:
    """Return the mean recall of a classifier by pixel colour on scenes that it was not trained on; chance is 0.25."""
    colour, truth = pixels(sample, ("tier1", "tier3"), phase)
    counts = np.stack([np.bincount(colour[truth == d], minlength=_BINS**3) for d in SCORED])
    guess = np.argmax((counts + 0.5) / counts.sum(axis=1, keepdims=True), axis=0) + int(Damage.NO_DAMAGE)
    colour, truth = pixels(sample, ("hold", "test"), phase)
    return float(np.mean([(guess[colour][truth == d] == d).mean() for d in SCORED]))


def test_colour_alone_does_not_separate_the_classes(sample: Sample) -> None:
    assert balanced_accuracy_by_colour(sample, "post") < 0.45


def test_the_pre_disaster_image_does_not_reveal_the_damage(sample: Sample) -> None:
    assert balanced_accuracy_by_colour(sample, "pre") < 0.32


def test_damaged_buildings_change_more_than_intact_ones(sample: Sample) -> None:
    """Damage adds local contrast, measured here independently of gain and colour cast."""
    change: dict[Damage, list[float]] = {damage: [] for damage in SCORED}
    for scene in sample.scenes:
        before, after = (_contrast(sample.image(scene, phase)) for phase in ("pre", "post"))
        for building in sample.label(scene, "post").buildings:
            column, row = ring(building.xy).mean(axis=0).astype(int)
            cut = slice(max(row - 5, 0), row + 6), slice(max(column - 5, 0), column + 6)
            if building.damage in SCORED and after[cut].size:
                change[building.damage].append(float(after[cut].mean() / before[cut].mean()))
    medians = [float(np.median(change[damage])) for damage in SCORED]
    assert medians[0] < medians[1] < medians[2]
    assert medians[3] > 1.5 * medians[0]


def _contrast(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = np.log1p(image.astype(np.float64).mean(axis=2))
    return np.asarray(np.hypot(*np.gradient(grey)))
