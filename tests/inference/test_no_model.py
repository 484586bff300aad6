"""Assessments without a model, and the refusal of a synthetic model for real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from image_pair import Smooth, Write, pair_of
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.inference.no_model import check_no_model, visible_rows
from xview2_siamese_unet.inference.record import refuse_synthetic
from xview2_siamese_unet.raster.export import SYNTHETIC_TAG
from xview2_siamese_unet.raster.windows import WindowPlan


def test_pixels_that_both_images_show_are_un_classified(write_raster: Write, smooth: Smooth) -> None:
    pre, post = smooth(), smooth(phase=1.0)
    pre[:50], post[:, 250:] = 0, 0
    pair = pair_of(write_raster("pre.tif", pre), write_raster("post.tif", post)).pair
    plan = WindowPlan(200, 300, 96, 32)
    whole = np.zeros((6, 200, 300), np.uint8)
    for i, blocks in visible_rows(pair, plan):
        for j, block in enumerate(blocks):
            whole[:, *plan.block(i, j)] = 255 if block["block"] is None else block["block"]
    expected = np.full((200, 300), 255)
    expected[50:, :250] = 5
    np.testing.assert_array_equal(whole[-1], expected)
    assert set(np.unique(whole[:-1, 50:, :250])) == {0}


def test_a_synthetic_model_is_used_for_real_images_only_by_name(write_raster: Write, smooth: Smooth) -> None:
    real = InferenceParams(post=write_raster("real.tif", smooth()))
    with pytest.raises(CheckpointError, match=r"trained on synthetic scenes, but real\.tif is not one"):
        refuse_synthetic({"dataset": "sample"}, real)
    refuse_synthetic({"dataset": "xbd"}, real)
    refuse_synthetic({"dataset": "sample"}, real.model_copy(update={"model": Path("some.pth")}))
    synthetic = write_raster("synthetic.tif", smooth())
    with rasterio.open(synthetic, "r+") as file:
        file.update_tags(**SYNTHETIC_TAG)
    refuse_synthetic({"dataset": "sample"}, InferenceParams(post=synthetic))


def test_no_model_needs_footprints_and_a_model_both_images() -> None:
    none, one = Path("none"), Path("one.tif")
    with pytest.raises(ConfigError, match="needs footprints"):
        check_no_model(InferenceParams(pre=one, post=one, model=none))
    with pytest.raises(ConfigError, match="A model needs both images"):
        check_no_model(InferenceParams(pre=none, post=one, footprints=one))
    check_no_model(InferenceParams(pre=none, post=one, footprints=one, model=none))
