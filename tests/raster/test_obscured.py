"""Detection of obscured cells: clouds and night."""

from __future__ import annotations

import numpy as np
import pytest

from xview2_siamese_unet.raster.obscured import obscured_cells

SIDE, STEP = 256, 4


@pytest.fixture
def ground() -> np.ndarray:
    """Green ground with the texture of houses and trees, uint8 (h, w, 3)."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.normal(0, 12, (SIDE // 4, SIDE // 4)), np.ones((4, 4))) + rng.normal(0, 12, (SIDE, SIDE))
    return np.clip(blocks[..., None] + (70, 95, 60), 1, 255).astype(np.uint8)


def obscured(image: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    return obscured_cells(image, image.any(axis=2) if valid is None else valid, STEP)


def test_a_clear_image_is_not_obscured(ground: np.ndarray) -> None:
    assert not obscured(ground).any()


@pytest.mark.parametrize("grey", [150, 200, 250])
def test_a_cloud_is_obscured_to_its_edge(ground: np.ndarray, grey: int) -> None:
    cloudy = ground.copy()
    cloudy[:, 128:] = 0.15 * ground[:, 128:] + 0.85 * grey
    found = obscured(cloudy)
    assert found[:, 33:].all()
    assert not found[:, :30].any()


def test_a_thin_cloud_is_not_obscured(ground: np.ndarray) -> None:
    assert not obscured((0.7 * ground + 0.3 * 220).astype(np.uint8)).any()


def test_a_white_roof_is_not_obscured(ground: np.ndarray) -> None:
    ground[100:132, 60:160] = 245  # 16 m wide
    assert not obscured(ground).any()


def test_smooth_sand_and_muddy_water_are_not_obscured(ground: np.ndarray) -> None:
    for colour in ((200, 175, 140), (130, 115, 95)):
        ground[:] = colour
        assert not obscured(ground).any()


def test_night_is_obscured_and_a_shadow_is_not(ground: np.ndarray) -> None:
    assert obscured(np.maximum(ground // 12, 1)).all()
    assert not obscured(ground // 3).any()


def test_no_data_is_not_obscured_and_does_not_cut_a_cloud(ground: np.ndarray) -> None:
    cloudy = np.full_like(ground, 220)
    cloudy[:, :100] = 0
    found = obscured(cloudy)
    np.testing.assert_array_equal(found, np.arange(SIDE // STEP) >= np.full((SIDE // STEP, 1), 25))
    outside = np.zeros((SIDE, SIDE), bool)
    outside[:, 102:] = True  # half of the cells of column 25
    found = obscured(np.full_like(ground, 220), outside)
    np.testing.assert_array_equal(found, np.arange(SIDE // STEP) >= np.full((SIDE // STEP, 1), 26))
