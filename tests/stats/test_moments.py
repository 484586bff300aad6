from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.raster.store import RECORD, count_scene
from xview2_siamese_unet.stats.moments import channel_statistics


def scenes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, (count, 8, 6, 8), dtype=np.uint8)
    pixels[:, :2, :, :3] = 0  # no data before the disaster
    pixels[..., 6] = pixels[..., 7] = 0
    return pixels


@given(st.integers(1, 4), st.integers(0, 10_000))
def test_mean_and_deviation_of_the_pixels_that_hold_data(count: int, seed: int) -> None:
    pixels = scenes(count, seed)
    got = channel_statistics(np.stack([count_scene(scene) for scene in pixels]))
    pre, post = pixels[:, 2:, :, 0:3].reshape(-1, 3), pixels[..., 3:6].reshape(-1, 3)
    for name, values in (("pre", pre), ("post", post), ("both", np.concatenate([pre, post]))):
        assert got[name]["mean"] == pytest.approx(values.mean(axis=0))
        assert got[name]["std"] == pytest.approx(values.std(axis=0))


def test_a_flat_or_empty_channel_divides_nothing_by_zero(caplog: pytest.LogCaptureFixture) -> None:
    flat = np.full((4, 4, 8), 7, np.uint8)
    flat[..., 6:] = 0
    assert channel_statistics(count_scene(flat)[None])["both"] == {"mean": [7] * 3, "std": [1] * 3}
    assert channel_statistics(np.zeros(1, RECORD))["pre"] == {"mean": [0] * 3, "std": [1] * 3}
    assert [message.split(" image")[0] for message in caplog.messages] == ["no pre-disaster", "no post-disaster"]


def test_whole_xbd_does_not_overflow() -> None:
    table = np.zeros(11_034, RECORD)
    table["valid_pixels"] = 1024**2
    table["channel_sums"] = 255 * 1024**2
    table["channel_squares"] = 255**2 * 1024**2
    assert channel_statistics(table)["both"]["mean"] == [255] * 3
