from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xview2_siamese_unet.raster.io import write_mask
from xview2_siamese_unet.raster.masks import SceneMasks, compare_targets

SCENE = "a-fire_00000001"
OURS = np.array([[0, 1, 5, 4], [0, 1, 5, 4]], np.uint8)
SCENES = pd.DataFrame({"scene": [SCENE], "tier": ["tier1"], "post_image": [f"train/images/{SCENE}_post_disaster.png"]})


@pytest.mark.parametrize(
    ("target", "agreement"),
    [([[0, 1, 0, 4]] * 2, 1.0), ([[0, 1, 0, 3]] * 2, 0.75), ([[1, 1, 1, 4]] * 2, 0.5), ([[0, 1]], 0.0)],
)
def test_the_share_of_equal_pixels_without_un_classified_ones(
    tmp_path: Path, target: list[list[int]], agreement: float
) -> None:
    masks = partial(SceneMasks, tmp_path / "masks")
    write_mask(masks(f"tier1/{SCENE}").path("damage"), OURS)
    path = tmp_path / "train" / "targets" / f"{SCENE}_post_disaster_target.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.array(target, np.uint8)).save(path)
    compared = compare_targets(tmp_path, SCENES, masks)
    assert compared.to_dict("records") == [{"scene": SCENE, "agreement": agreement}]


def test_no_targets_no_rows(tmp_path: Path) -> None:
    assert compare_targets(tmp_path, SCENES, partial(SceneMasks, tmp_path)).empty
