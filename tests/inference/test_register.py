from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from xview2_siamese_unet.inference.harmonise import harmonise
from xview2_siamese_unet.inference.register import SIDE, estimate_shift
from xview2_siamese_unet.params.inference import InferenceParams

VALID = np.ones((SIDE, SIDE), bool)


def town(seed: int, side: int = SIDE + 40) -> np.ndarray:
    """Roofs on grass: rectangles of random place, size and brightness."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(100, 40, (side, side)), 2)
    for _ in range(side * side // 900):
        y, x = rng.integers(0, side, 2)
        h, w = rng.integers(6, 20, 2)
        image[y : y + h, x : x + w] = rng.integers(40, 230)
    return image


def after(image: np.ndarray, seed: int) -> np.ndarray:
    """Another light, new noise, and a fifth of the place changed."""
    rng = np.random.default_rng(seed + 1000)
    changed = 0.7 * image + 40 + rng.normal(0, 5, image.shape)
    side = len(image)
    for _ in range(5):
        y, x = rng.integers(0, side - 50, 2)
        changed[y : y + 50, x : x + 50] = rng.normal(120, 40, (50, 50))
    return changed


def crop(image: np.ndarray) -> np.ndarray:
    start = (len(image) - SIDE) // 2
    inner = image[start : start + SIDE, start : start + SIDE]
    return np.repeat(inner.clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)


def moved_pair(columns: float, rows: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = town(seed)
    return crop(image), crop(shift(after(image, seed), (rows, columns), order=3, mode="reflect")), VALID


def test_shifts_of_up_to_twelve_pixels_are_found() -> None:
    rng = np.random.default_rng(5)
    errors = []
    for seed in range(25):
        columns, rows = rng.uniform(-12, 12, 2)
        found = estimate_shift([moved_pair(columns, rows, 3 * seed + k) for k in range(3)])
        assert found.sure
        errors.append(np.hypot(found.columns - columns, found.rows - rows))
    assert np.median(errors) <= 0.5
    assert np.percentile(errors, 95) <= 1


def test_an_aligned_pair_is_left_alone() -> None:
    found = estimate_shift([moved_pair(0, 0, seed) for seed in range(3)])
    assert found.sure
    assert found.size < 0.25
    assert max(found.local) < 0.5


@pytest.mark.parametrize("kind", ["flat", "noise", "elsewhere", "no data"])
def test_without_common_features_nothing_is_said(kind: str) -> None:
    rng = np.random.default_rng(1)
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)

    def noise() -> np.ndarray:
        return rng.integers(1, 255, (SIDE, SIDE, 3)).astype(np.uint8)

    pairs = {
        "flat": [(flat, flat, VALID)] * 4,
        "noise": [(noise(), noise(), VALID) for _ in range(4)],
        "elsewhere": [(crop(town(k)), crop(town(k + 50)), VALID) for k in range(4)],
        "no data": [(noise(), noise(), ~VALID)],
    }
    assert not estimate_shift(pairs[kind]).sure


def test_windows_that_disagree_move_nothing() -> None:
    places = [(8, 8), (-8, 8), (8, -8), (-8, -8), (0, 10)]
    found = estimate_shift([moved_pair(*place, seed) for seed, place in enumerate(places)])
    assert found.agreement < 0.5
    assert not found.sure


def test_edges_of_the_data_are_no_features() -> None:
    valid = VALID.copy()
    valid[:, 150:] = False
    pre, post, _ = moved_pair(6, -4, 3)
    found = estimate_shift([(np.where(valid[..., None], pre, 0), np.where(valid[..., None], post, 0), valid)])
    assert (found.columns, found.rows) == pytest.approx((6, -4), abs=0.5)


def test_rasters_are_put_on_top_of_each_other(write_raster: Callable[..., Path]) -> None:
    image = town(9, 700)
    moved = shift(after(image, 9), (-3.5, 7.25), order=3, mode="reflect")
    paths = [
        write_raster(f"{k}.tif", np.repeat(each.clip(1, 255)[..., None], 3, axis=2).astype(np.uint8))
        for k, each in enumerate((image, moved))
    ]
    params = InferenceParams(pre=paths[0], post=paths[1])
    found = harmonise(params)
    assert found.pair.shift == pytest.approx((7.25, -3.5), abs=0.3)
    assert "8.1 pixels beside" in found.warnings[0] or "8.0 pixels beside" in found.warnings[0]
    left = harmonise(params.model_copy(update={"registration": "off"}))
    assert left.pair.shift == (0, 0)
    assert left.shift is None
