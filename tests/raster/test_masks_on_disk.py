from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import LabelError
from xview2_siamese_unet.raster.io import read_mask, read_tag
from xview2_siamese_unet.raster.masks import MaskJob, burn_scene, mask_path


def box(x: int, y: int, side: int) -> str:
    return f"POLYGON (({x} {y}, {x + side} {y}, {x + side} {y + side}, {x} {y + side}, {x} {y}))"


JOB = MaskJob(
    scene="a-fire_00000001",
    tier="tier3",
    shape=(16, 20),
    pre=(box(1, 1, 4), box(8, 8, 4)),
    post=(box(2, 1, 4), box(8, 8, 4)),
    subtypes=("no-damage", "un-classified"),
    rule="centre",
    place=None,
    key="k1",
)


def test_two_masks_from_two_labels(tmp_path: Path) -> None:
    assert burn_scene(tmp_path, JOB)
    building = read_mask(tmp_path / "tier3" / "a-fire_00000001_building.tif")
    damage = read_mask(mask_path(tmp_path, "tier3", "a-fire_00000001", "damage"))
    assert building.shape == damage.shape == (16, 20)
    assert np.argwhere(building).min(axis=0).tolist() == [1, 1]
    assert (building.sum(), np.unique(building).tolist()) == (32, [0, 1])
    assert (damage[2, 2], damage[9, 9], damage[1, 1]) == (Damage.NO_DAMAGE, Damage.UNCLASSIFIED, 0)
    assert read_tag(mask_path(tmp_path, JOB.tier, JOB.scene, "damage"), "key") == "k1"


def test_what_is_valid_is_left_alone(tmp_path: Path) -> None:
    burn_scene(tmp_path, JOB)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    assert not burn_scene(tmp_path, JOB)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")} == before


def test_another_label_is_burnt_anew(tmp_path: Path) -> None:
    burn_scene(tmp_path, JOB)
    assert burn_scene(tmp_path, replace(JOB, post=(box(0, 0, 2), box(8, 8, 4)), key="k2"))
    assert read_mask(mask_path(tmp_path, JOB.tier, JOB.scene, "damage"))[0, 0] == Damage.NO_DAMAGE


@pytest.mark.parametrize("kind", ["building", "damage"])
@pytest.mark.parametrize("harm", ["gone", "empty", "torn"])
def test_a_damaged_mask_is_burnt_anew(tmp_path: Path, kind: str, harm: str) -> None:
    burn_scene(tmp_path, JOB)
    path = tmp_path / "tier3" / f"{JOB.scene}_{kind}.tif"
    whole = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(whole[: 40 if harm == "torn" else 0])
    assert burn_scene(tmp_path, JOB)
    assert path.read_bytes() == whole


def test_geometry_that_is_none_leaves_no_mask(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="a-fire_00000001: found geometry 'nowhere'"):
        burn_scene(tmp_path, replace(JOB, post=("nowhere", box(1, 1, 1))))
    assert not list(tmp_path.rglob("*.*"))
