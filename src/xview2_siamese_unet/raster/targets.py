"""Our masks against the `targets` that some releases bring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.raster.io import read_mask
from xview2_siamese_unet.raster.masks import SceneMasks


def compare_targets(folder: Path, scenes: pd.DataFrame, masks: Callable[[str], SceneMasks]) -> pd.DataFrame:
    """Return the share of equal pixels for each scene whose target exists: the columns scene and agreement.

    Targets draw outlines, and leave un-classified buildings out; the latter are left out of our mask as well. 97 % and
    more is as expected.

    Args:
        folder: the dataset folder.
        scenes: of `xbd.ingest.SCENE_COLUMNS`.
        masks: `<tier>/<scene>` → our masks.
    """
    rows = []
    for scene in scenes.itertuples():
        stem = Path(str(scene.post_image)).stem
        target = folder / Path(str(scene.post_image)).parts[0] / "targets" / f"{stem}_target.png"
        if target.is_file():
            ours, theirs = masks(f"{scene.tier}/{scene.scene}").read("damage"), read_mask(target)
            same = ours.shape == theirs.shape
            equal = np.where(ours == Damage.UNCLASSIFIED, 0, ours) == theirs if same else np.zeros(1)
            rows.append((scene.scene, float(equal.mean())))
    return pd.DataFrame(rows, columns=["scene", "agreement"])
