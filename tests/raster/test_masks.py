"""Masks from the two labels of a scene, their reuse, and their agreement with targets."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError, LabelError
from xview2_siamese_unet.parallel import Lazy, make_missing
from xview2_siamese_unet.raster.io import read_mask, read_tag, write_mask
from xview2_siamese_unet.raster.masks import SceneMasks, compare_targets, rasterize_scene
from xview2_siamese_unet.xbd.labels import Building, Label, Metadata, format_label
from xview2_siamese_unet.xbd.scenes import SceneId, ScenePair

PAIR = ScenePair(
    "tier3",
    SceneId("a-fire", 1),
    {"pre": "a.png", "post": "b.png"},
    {"pre": "a.json", "post": "b.json"},
)
METADATA = Metadata(disaster="a-fire", disaster_type="fire", width=20, height=16, img_name="a.png")


def box(x: int, y: int, side: int) -> str:
    return f"POLYGON (({x} {y}, {x + side} {y}, {x + side} {y + side}, {x} {y + side}, {x} {y}))"


def lazy(root: Path, post: str = box(2, 1, 4), made_from: str = "k1") -> Lazy:
    """Write both labels; return the lazy rasterisation of their masks."""
    last = box(8, 8, 4)
    polygons = {"pre": (box(1, 1, 4), last), "post": (post, last)}
    data = b""
    for phase, texts in polygons.items():
        damages = (Damage.NO_DAMAGE, Damage.UNCLASSIFIED)
        buildings = tuple(Building(f"u{i}", xy, damages[i], "POINT (0 0)") for i, xy in enumerate(texts))
        label = format_label(Label(METADATA, buildings), phase)
        (root / PAIR.labels[phase]).write_bytes(label)
        data += label
    key = blake2b(data, digest_size=16).hexdigest()
    return Lazy(partial(rasterize_scene, root, PAIR, key, "centre", None), made_from)


@pytest.fixture
def masks(tmp_path: Path) -> SceneMasks:
    return SceneMasks(tmp_path / "masks", "tier3/a-fire_00000001")


def test_two_labels_give_two_masks(tmp_path: Path, masks: SceneMasks) -> None:
    assert make_missing((masks, lazy(tmp_path)))
    building = read_mask(tmp_path / "masks" / "tier3" / "a-fire_00000001_building.tif")
    damage = masks.read("damage")
    assert building.shape == damage.shape == (16, 20)
    assert np.argwhere(building).min(axis=0).tolist() == [1, 1]
    assert (building.sum(), np.unique(building).tolist()) == (32, [0, 1])
    assert (damage[2, 2], damage[9, 9], damage[1, 1]) == (Damage.NO_DAMAGE, Damage.UNCLASSIFIED, 0)
    assert read_tag(masks.path("damage"), "key") == "k1"


def test_a_valid_mask_is_reused(tmp_path: Path, masks: SceneMasks) -> None:
    make_missing((masks, lazy(tmp_path)))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    assert not make_missing((masks, lazy(tmp_path)))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")} == before


def test_a_mask_of_a_changed_label_is_burnt_again(tmp_path: Path, masks: SceneMasks) -> None:
    make_missing((masks, lazy(tmp_path)))
    assert make_missing((masks, lazy(tmp_path, post=box(0, 0, 2), made_from="k2")))
    assert masks.read("damage")[0, 0] == Damage.NO_DAMAGE


@pytest.mark.parametrize("kind", ["building", "damage"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_a_damaged_mask_is_burnt_again(tmp_path: Path, masks: SceneMasks, kind: str, damage: str) -> None:
    make_missing((masks, lazy(tmp_path)))
    path = masks.path(kind)
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: 40 if damage == "truncated" else 0])
    assert make_missing((masks, lazy(tmp_path)))
    assert path.read_bytes() == whole


def test_an_invalid_geometry_leaves_no_mask(tmp_path: Path, masks: SceneMasks) -> None:
    with pytest.raises(LabelError, match=r"b\.json has geometry 'nowhere'"):
        make_missing((masks, lazy(tmp_path, post="nowhere")))
    assert not list(tmp_path.rglob("*.tif"))


@pytest.mark.parametrize(("kind", "code"), [("building", 2), ("damage", 6), ("building", 255)])
def test_a_mask_with_an_unknown_code_is_refused(masks: SceneMasks, kind: str, code: int) -> None:
    write_mask(masks.path(kind), np.full((4, 4), code, np.uint8))
    with pytest.raises(DataError, match=f"holds the code {code}"):
        masks.read(kind)


SCENE = "a-fire_00000001"
OURS = np.array([[0, 1, 5, 4], [0, 1, 5, 4]], np.uint8)
SCENES = pd.DataFrame({"scene": [SCENE], "tier": ["tier1"], "post_image": [f"train/images/{SCENE}_post_disaster.png"]})


@pytest.mark.parametrize(
    ("target", "agreement"),
    [([[0, 1, 0, 4]] * 2, 1.0), ([[0, 1, 0, 3]] * 2, 0.75), ([[1, 1, 1, 4]] * 2, 0.5), ([[0, 1]], 0.0)],
)
def test_agreement_with_a_target_ignores_un_classified_pixels(
    tmp_path: Path, target: list[list[int]], agreement: float
) -> None:
    masks = partial(SceneMasks, tmp_path / "masks")
    write_mask(masks(f"tier1/{SCENE}").path("damage"), OURS)
    path = tmp_path / "train" / "targets" / f"{SCENE}_post_disaster_target.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.array(target, np.uint8)).save(path)
    compared = compare_targets(tmp_path, SCENES, masks)
    assert compared.to_dict("records") == [{"scene": SCENE, "agreement": agreement}]


def test_without_targets_there_are_no_rows(tmp_path: Path) -> None:
    assert compare_targets(tmp_path, SCENES, partial(SceneMasks, tmp_path)).empty
