from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.params.modelling import AugmentationParams
from xview2_siamese_unet.training.augment import augment
from xview2_siamese_unet.training.pairs import Batch

STILL = {"brightness": 0, "contrast": 0}


def coordinates(height: int, width: int) -> Batch:
    """Images and masks that carry their own coordinates: wherever a pixel goes, it says where it came from."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([y, x, torch.ones_like(y)]).float().expand(2, 3, height, width)
    return Batch(image, image.clone(), y.expand(2, height, width), x.expand(2, height, width))


@given(seed=st.integers(0, 2**32), square=st.booleans())
def test_geometry_keeps_both_dates_and_masks_in_register(seed: int, square: bool) -> None:
    torch.manual_seed(seed)
    seen = augment(coordinates(8, 8 if square else 12), AugmentationParams(**STILL))
    assert torch.equal(seen.pre, seen.post)
    assert torch.equal(seen.pre[:, 0].long(), seen.building)
    assert torch.equal(seen.pre[:, 1].long(), seen.damage)
    assert seen.damage.shape == (2, 8, 8 if square else 12)


def test_all_eight_symmetries_of_a_square_come_up_and_four_of_a_rectangle() -> None:
    torch.manual_seed(0)
    for width, symmetries in ((8, 8), (12, 4)):
        seen = {
            tuple(augment(coordinates(8, width), AugmentationParams(**STILL)).pre.flatten().tolist())
            for _ in range(200)
        }
        assert len(seen) == symmetries


def test_without_flips_and_light_nothing_changes() -> None:
    before = coordinates(8, 8)
    after = augment(before, AugmentationParams(flips=False, **STILL))
    assert all(torch.equal(*parts) for parts in zip(before, after, strict=True))


@pytest.mark.parametrize("key", ["brightness", "contrast"])
def test_light_changes_each_image_alone_and_no_mask(key: str) -> None:
    torch.manual_seed(0)
    image = 50 + 100 * torch.rand(2, 3, 8, 8)
    before = Batch(image, image.clone(), torch.ones(2, 8, 8), torch.ones(2, 8, 8))
    after = augment(before, AugmentationParams(flips=False, **STILL | {key: 0.3}))
    assert not torch.allclose(after.pre, image)
    assert not torch.allclose(after.pre, after.post)
    assert not torch.allclose(after.pre[0] / image[0], after.pre[1] / image[1])
    assert after.building is before.building
    mean_change = (after.pre.mean((1, 2, 3)) / image.mean((1, 2, 3)) - 1).abs()
    assert (mean_change.max() > 0.01) == (key == "brightness")


@given(seed=st.integers(0, 2**32))
def test_no_data_stays_black_and_light_stays_in_range(seed: int) -> None:
    torch.manual_seed(seed)
    image = torch.randint(1, 256, (2, 3, 8, 8)).float()
    image[:, :, :3] = 0
    masks = torch.zeros(2, 8, 8)
    after = augment(Batch(image, image, masks, masks), AugmentationParams(flips=False, brightness=0.9, contrast=0.9))
    assert not after.pre[:, :, :3].any()
    assert after.pre.min() >= 0
    assert after.pre.max() <= 255
