from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.config.modelling import AugmentationParams
from xview2_siamese_unet.training import augmentation
from xview2_siamese_unet.training.augmentation import augment
from xview2_siamese_unet.training.data import Batch

STILL = {"brightness": 0, "contrast": 0}


def coordinates(height: int, width: int) -> Batch:
    """Return images and masks whose values are pixel coordinates, which show where each pixel came from."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([y, x, torch.ones_like(y)]).float().expand(2, 3, height, width)
    return Batch(image, image.clone(), y.expand(2, height, width), x.expand(2, height, width))


@given(seed=st.integers(0, 2**32), square=st.booleans())
def test_flips_keep_images_and_masks_aligned(seed: int, square: bool) -> None:
    torch.manual_seed(seed)
    augmented = augment(coordinates(8, 8 if square else 12), AugmentationParams(**STILL))
    assert torch.equal(augmented.pre, augmented.post)
    assert torch.equal(augmented.pre[:, 0].long(), augmented.building)
    assert torch.equal(augmented.pre[:, 1].long(), augmented.damage)
    assert augmented.damage.shape == (2, 8, 8 if square else 12)


def test_all_symmetries_of_a_square_and_a_rectangle_occur() -> None:
    torch.manual_seed(0)
    for width, symmetries in ((8, 8), (12, 4)):
        augmented = {
            tuple(augment(coordinates(8, width), AugmentationParams(**STILL)).pre.flatten().tolist())
            for _ in range(200)
        }
        assert len(augmented) == symmetries


def test_no_augmentation_changes_nothing() -> None:
    before = coordinates(8, 8)
    after = augment(before, AugmentationParams(flips=False, **STILL))
    assert all(torch.equal(*parts) for parts in zip(before, after, strict=True))


@pytest.mark.parametrize("key", ["brightness", "contrast"])
def test_brightness_and_contrast_change_each_image_separately_and_no_mask(key: str) -> None:
    torch.manual_seed(0)
    image = 50 + 100 * torch.rand(2, 3, 8, 8)
    before = Batch(image, image.clone(), torch.ones(2, 8, 8).long(), torch.ones(2, 8, 8).long())
    after = augment(before, AugmentationParams(flips=False, **STILL | {key: 0.3}))
    assert not torch.allclose(after.pre, image)
    assert not torch.allclose(after.pre, after.post)
    assert not torch.allclose(after.pre[0] / image[0], after.pre[1] / image[1])
    assert after.building is before.building
    mean_change = (after.pre.mean((1, 2, 3)) / image.mean((1, 2, 3)) - 1).abs()
    assert (mean_change.max() > 0.01) == (key == "brightness")


@given(seed=st.integers(0, 2**32))
def test_no_data_stays_black_and_no_other_pixel_becomes_black(seed: int) -> None:
    torch.manual_seed(seed)
    image = torch.randint(1, 256, (2, 3, 8, 8)).float()
    image[:, :, :3] = 0
    masks = torch.zeros(2, 8, 8, dtype=torch.int64)
    after = augment(Batch(image, image, masks, masks), AugmentationParams(flips=False, brightness=0.9, contrast=0.9))
    assert not after.pre[:, :, :3].any()
    assert after.pre[:, :, 3:].any(dim=1).all()
    assert after.pre.min() >= 0
    assert after.pre.max() <= 255


MOVED = {"rotate": 25.0, "scale": 0.2, "shift": 0.1}


@given(seed=st.integers(0, 2**32), wide=st.booleans(), key=st.sampled_from([*MOVED]))
def test_affine_maps_keep_images_and_masks_aligned(seed: int, wide: bool, key: str) -> None:
    torch.manual_seed(seed)
    before = coordinates(32, 48 if wide else 32)
    augmented = augment(before, AugmentationParams(**STILL, **{key: MOVED[key]}))
    torch.testing.assert_close(augmented.pre, augmented.post)
    inside = augmented.pre[:, 2] > 0.999  # the third channel is 1, less where a pixel is mixed with the outside
    assert inside.float().mean() > 0.4
    for channel, mask in ((0, augmented.building), (1, augmented.damage)):
        assert (augmented.pre[:, channel] - mask)[inside].abs().max() < 0.51


@pytest.mark.parametrize("key", [*MOVED])
def test_each_scene_moves_by_its_own_amount(key: str) -> None:
    torch.manual_seed(0)
    augmented = augment(coordinates(32, 32), AugmentationParams(flips=False, **STILL, **{key: MOVED[key]}))
    assert not torch.equal(augmented.pre[0], coordinates(32, 32).pre[0])
    assert not torch.equal(augmented.pre[0], augmented.pre[1])


def test_rotation_keeps_distances_in_a_rectangle() -> None:
    torch.manual_seed(3)
    augmented = augment(coordinates(32, 64), AugmentationParams(flips=False, **STILL, rotate=30.0))
    middle = augmented.pre[0, :2, 12:20, 28:36]
    down, right = middle.diff(dim=1)[:, :, :-1], middle.diff(dim=2)[:, :-1]
    torch.testing.assert_close(down.norm(dim=0), torch.ones(7, 7), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((down * right).sum(0), torch.zeros(7, 7), rtol=1e-3, atol=1e-3)


def test_post_shift_moves_only_the_post_disaster_image_within_the_limit() -> None:
    torch.manual_seed(0)
    before = coordinates(32, 32)
    for _ in range(20):
        after = augment(before, AugmentationParams(flips=False, **STILL, post_shift=3.0))
        assert all(torch.equal(getattr(after, part), getattr(before, part)) for part in ("pre", "building", "damage"))
        moved = (after.post - before.post)[:, :2, 4:-4, 4:-4]
        assert 0 < moved.abs().max() <= 3.001


WARPS = {"turn, scale and shift": {"rotate": 25.0, "scale": 0.2, "shift": 0.1}, "post shift": {"post_shift": 3.0}}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("warp", WARPS.values(), ids=[*WARPS])
def test_sampling_grid_is_float32_under_autocast(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, warp: dict[str, float]
) -> None:
    sample, grids = torch.nn.functional.grid_sample, []

    def watched(image: torch.Tensor, grid: torch.Tensor, *args: str, **kwargs: bool) -> torch.Tensor:
        grids.append(grid)
        return sample(image, grid, *args, **kwargs)

    monkeypatch.setattr(augmentation.functional, "grid_sample", watched)
    with torch.autocast("cpu", dtype):
        augment(coordinates(32, 48), AugmentationParams(**STILL, **warp))
    assert grids
    assert {grid.dtype for grid in grids} == {torch.float32}


@pytest.mark.parametrize("warp", WARPS.values(), ids=[*WARPS])
def test_identity_warp_returns_its_input_under_autocast(
    monkeypatch: pytest.MonkeyPatch, warp: dict[str, float]
) -> None:
    monkeypatch.setattr(augmentation, "_uniform", lambda n, device: torch.zeros(n, device=device))
    before = coordinates(512, 512)
    with torch.autocast("cpu", torch.bfloat16):
        after = augment(before, AugmentationParams(flips=False, **STILL, **warp))
    assert (after.pre - before.pre).abs().max() < 1e-2
    assert (after.post - before.post).abs().max() < 1e-2
    assert torch.equal(after.building, before.building)
    assert torch.equal(after.damage, before.damage)


def test_autocast_does_not_change_the_augmentation() -> None:
    params = AugmentationParams(**STILL, **WARPS["turn, scale and shift"], **WARPS["post shift"])
    torch.manual_seed(0)
    expected = augment(coordinates(128, 192), params)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        augmented = augment(coordinates(128, 192), params)
    assert all(torch.equal(*parts) for parts in zip(augmented, expected, strict=True))
