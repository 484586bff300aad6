from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter, map_coordinates, shift

from xview2_siamese_unet.config.inference import BuildingParams, InferenceParams
from xview2_siamese_unet.inference.coregistration import (
    SIDE,
    estimate_field,
    estimate_footprint_shift,
    estimate_shift,
    move_footprints,
)
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.pipelines.inference.nodes import outline_buildings
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.reader import Pair

VALID = np.ones((SIDE, SIDE), bool)


def town(seed: int, side: int = SIDE + 40) -> np.ndarray:
    """Return an image of roofs on grass: rectangles of random position, size and brightness."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(100, 40, (side, side)), 2)
    for _ in range(side * side // 900):
        y, x = rng.integers(0, side, 2)
        h, w = rng.integers(6, 20, 2)
        image[y : y + h, x : x + w] = rng.integers(40, 230)
    return image


def after(image: np.ndarray, seed: int) -> np.ndarray:
    """Change the light, add noise and replace five squares of the image."""
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


@pytest.mark.slow
def test_shifts_of_up_to_twelve_pixels_are_estimated() -> None:
    rng = np.random.default_rng(5)
    errors = []
    for seed in range(25):
        columns, rows = rng.uniform(-12, 12, 2)
        estimate = estimate_shift([moved_pair(columns, rows, 3 * seed + k) for k in range(3)])
        assert estimate.is_reliable
        errors.append(np.hypot(estimate.columns - columns, estimate.rows - rows))
    assert np.median(errors) <= 0.5
    assert np.percentile(errors, 95) <= 1


def test_an_aligned_pair_has_no_shift() -> None:
    estimate = estimate_shift([moved_pair(0, 0, seed) for seed in range(3)])
    assert estimate.is_reliable
    assert estimate.size < 0.25
    assert max(np.hypot(one.columns, one.rows) for one in estimate.local) < 0.5


@pytest.mark.parametrize("kind", ["flat", "noise", "elsewhere", "no data"])
def test_without_common_features_the_shift_is_not_reliable(kind: str) -> None:
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
    assert not estimate_shift(pairs[kind]).is_reliable


@pytest.mark.parametrize(
    ("shifts", "agreement"),
    [([(8, 8), (-8, 8), (8, -8), (-8, -8), (0, 10)], 0.2), ([(6, 4), (6, 4), (-8, 8), (8, -8)], 0.5)],
)
def test_a_shift_without_a_majority_of_windows_is_not_reliable(shifts: list[tuple[int, int]], agreement: float) -> None:
    estimate = estimate_shift([moved_pair(*shift, seed) for seed, shift in enumerate(shifts)])
    assert estimate.agreement == agreement  # half of the windows are no majority
    assert not estimate.is_reliable


def test_edges_of_the_data_do_not_affect_the_shift() -> None:
    valid = VALID.copy()
    valid[:, 150:] = False
    pre, post, _ = moved_pair(6, -4, 3)
    estimate = estimate_shift([(np.where(valid[..., None], pre, 0), np.where(valid[..., None], post, 0), valid)])
    assert (estimate.columns, estimate.rows) == pytest.approx((6, -4), abs=0.5)


def test_rasters_are_co_registered(write_raster: Callable[..., Path]) -> None:
    image = town(9, 700)
    moved = shift(after(image, 9), (-3.5, 7.25), order=3, mode="reflect")
    paths = [
        write_raster(f"{k}.tif", np.repeat(each.clip(1, 255)[..., None], 3, axis=2).astype(np.uint8))
        for k, each in enumerate((image, moved))
    ]
    params = InferenceParams(pre=paths[0], post=paths[1])
    harmonised = harmonise(params)
    assert harmonised.pair.shift == pytest.approx((7.25, -3.5), abs=0.3)
    assert "shifted by 8.1 pixels" in harmonised.warnings[0] or "shifted by 8.0 pixels" in harmonised.warnings[0]
    uncorrected = harmonise(params.model_copy(update={"registration": "off"}))
    assert uncorrected.pair.shift == (0, 0)
    assert uncorrected.shift is None


@pytest.mark.parametrize(("rows", "expected"), [(1.5, 0), (2.5, 2.5)])
def test_only_shifts_of_two_pixels_and_more_are_corrected(
    write_raster: Callable[..., Path], rows: float, expected: float
) -> None:
    image = town(9, 700)
    moved = shift(image, (rows, 0), order=3, mode="reflect")
    paths = [
        write_raster(f"{k}.tif", np.repeat(each.clip(1, 255)[..., None], 3, axis=2).astype(np.uint8))
        for k, each in enumerate((image, moved))
    ]
    harmonised = harmonise(InferenceParams(pre=paths[0], post=paths[1]))
    assert harmonised.shift is not None
    assert harmonised.shift.rows == pytest.approx(rows, abs=0.3)
    assert harmonised.pair.shift == pytest.approx((0, expected), abs=0.3)
    assert ["not corrected" in warning for warning in harmonised.warnings] == ([] if expected else [True])


def bent(image: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the image shifted by a field that varies over the image, and that field (rows, columns)."""
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] / len(image)
    field = reach * np.stack([np.sin(2.5 * y + x), np.cos(2 * x - y)])
    coordinates = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] - field
    return map_coordinates(image, coordinates, order=3, mode="reflect"), field


@pytest.fixture
def bent_pair(write_raster: Callable[..., Path]) -> tuple[InferenceParams, np.ndarray]:
    image = town(11, 1024)
    moved, field = bent(image, 6.0)
    paths = [
        write_raster(f"{k}.tif", np.repeat(each.clip(1, 255)[..., None], 3, axis=2).astype(np.uint8))
        for k, each in enumerate((image, after(moved, 11)))
    ]
    return InferenceParams(pre=paths[0], post=paths[1]), field


@pytest.mark.slow
def test_a_local_shift_is_estimated_and_corrected(
    bent_pair: tuple[InferenceParams, np.ndarray],
) -> None:
    params, truth = bent_pair
    harmonised = harmonise(params)
    assert harmonised.pair.field is not None
    assert "was moved accordingly" in harmonised.warnings[-1]
    shift = harmonised.pair.field.window(0, 0, 1024, 1024) + np.array(harmonised.pair.shift[::-1])[:, None, None]
    errors = np.hypot(*(shift - truth))
    assert np.median(errors) <= 0.5
    assert np.percentile(errors, 95) <= 1.5
    one = harmonise(params.model_copy(update={"registration": "global"})).pair
    assert one.field is None
    differences = [
        np.abs(np.subtract(*(each.astype(float) for each in _inner(pair)))).mean() for pair in (harmonised.pair, one)
    ]
    assert differences[0] < 0.8 * differences[1]


def _inner(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    with pair.open() as reader:
        patch = reader.read(500, 300, 400, 700)
    assert patch.valid.all()
    return patch.pre * 0.7 + 40, patch.post  # the change of light in `after`


@pytest.mark.slow
def test_windows_read_through_a_field_are_parts_of_the_whole(bent_pair: tuple[InferenceParams, np.ndarray]) -> None:
    pair = harmonise(bent_pair[0]).pair
    with pair.open() as reader:
        whole = reader.read(0, 0, 1024, 1024)
        for top, left, side in ((0, 0, 64), (701, 333, 97), (924, 924, 100)):
            part = reader.read(top, left, side, side)
            inner = slice(top, top + side), slice(left, left + side)
            np.testing.assert_array_equal(part.post, whole.post[inner])
            np.testing.assert_array_equal(part.valid, whole.valid[inner])
    small = pair.previews(160)
    assert np.abs(small[0].astype(float) * 0.7 + 40 - small[1])[8:-8, 8:-8].mean() < 25


def test_a_featureless_pair_is_not_shifted(write_raster: Callable[..., Path]) -> None:
    rng = np.random.default_rng(3)
    paths = [write_raster(f"{k}.tif", rng.integers(90, 110, (900, 900, 3), dtype=np.uint8)) for k in range(2)]
    harmonised = harmonise(InferenceParams(pre=paths[0], post=paths[1]))
    assert (harmonised.pair.shift, harmonised.pair.field) == ((0.0, 0.0), None)
    assert "no shift between the images could be measured" in harmonised.warnings[-1]


def test_contradicting_windows_make_no_field_and_outliers_are_ignored() -> None:
    positions = np.stack(np.meshgrid(*[np.arange(128, 1500, 256.0)] * 2, indexing="ij"), axis=2).reshape(-1, 2)
    rng = np.random.default_rng(0)
    assert estimate_field(positions, rng.uniform(-12, 12, positions.shape), (1536, 1536)) is None
    assert estimate_field(positions, np.full(positions.shape, 5.0), (1536, 1536)) is None
    smooth = positions / 200
    wrong = smooth.copy()
    wrong[[3, 17, 30]] += 9
    field = estimate_field(positions, wrong, (1536, 1536))
    assert field is not None
    assert np.median(np.hypot(*(field.at(*positions.T).T - smooth).T)) < 0.3


def test_footprints_are_moved_onto_the_predicted_buildings(write_raster: Callable[..., Path]) -> None:
    grid = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, 700, 600)
    rng = np.random.default_rng(4)
    corners = rng.uniform([10, 10], [330, 280], (150, 2)) * [1, -1] + [500_000, 4_000_000]
    sides = rng.uniform(5, 14, (150, 2))
    footprints = gpd.GeoDataFrame(
        geometry=shapely.box(*(corners - sides / 2).T, *(corners + sides / 2).T), crs=grid.crs
    )
    moved = footprints.geometry.translate(7.3 * 0.5, 4.1 * 0.5)
    burnt = rasterize(moved, out_shape=(600, 700), transform=grid.transform, default_value=254)
    background = 254 - gaussian_filter(burnt.astype(float), 1.5)
    shares = np.repeat(background[..., None], 5, axis=2).astype(np.uint8)
    path = write_raster("probability.tif", shares, nodata=255)
    shift = estimate_footprint_shift(footprints, path, grid)
    assert shift.is_reliable
    assert (shift.columns, shift.rows) == pytest.approx((7.3, -4.1), abs=0.5)
    onto = move_footprints(footprints, shift, grid.pixel).geometry
    assert (onto.centroid.distance(moved.centroid) < 0.3).all()
    inputs = SimpleNamespace(footprints=footprints, pair=SimpleNamespace(grid=grid))
    for mode in ("auto", "off"):
        params = InferenceParams(buildings=BuildingParams(footprint_shift=mode))
        outlines, shift_record = outline_buildings(inputs, params, path, path)
        assert (
            shift_record["moved"] == (mode == "auto") == (not outlines.geometry.geom_equals(footprints.geometry).any())
        )
    elsewhere = write_raster("other.tif", rng.integers(0, 254, (600, 700, 5), dtype=np.uint8), nodata=255)
    assert not estimate_footprint_shift(footprints, elsewhere, grid).is_reliable
    assert estimate_footprint_shift(footprints.geometry.translate(9e5, 0).to_frame("geometry"), path, grid).windows == 0


def test_moving_by_half_a_pixel_keeps_fine_detail(write_raster: Callable[..., Path]) -> None:
    """Bilinear resampling would leave 87 % of the contrast of a wave of six pixels."""
    columns = np.arange(120) + np.zeros((60, 1))

    def wave(shift: float) -> np.ndarray:
        return 128 + 100 * np.sin((columns + shift) * np.pi / 3)

    path = write_raster("wave.tif", np.repeat(np.rint(wave(0))[..., None], 3, axis=2).astype(np.uint8))
    pair = harmonise(InferenceParams(pre=path, post=path, registration="off")).pair
    with replace(pair, shift=(0.5, 0.0)).open() as reader:
        moved = reader.read(10, 10, 40, 100).post[..., 0]
    assert np.abs(moved - wave(0.5)[10:50, 10:110]).max() < 7
