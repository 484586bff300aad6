"""Masks and counts of the real scenes in ../shared against an independent rasteriser."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.features import rasterize
from shapely import from_wkt

from xview2_siamese_unet.damage import SUBTYPES
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.raster.rasterize import rasterize_buildings, rasterize_damage
from xview2_siamese_unet.raster.store import scene_record
from xview2_siamese_unet.stats import count_classes
from xview2_siamese_unet.xbd.labels import parse_label, parse_polygons
from xview2_siamese_unet.xbd.scenes import Phase

REAL = Path(__file__).parents[3] / "shared" / "xbd"
LABELS = sorted(REAL.glob("*/labels/*_post_disaster.json"))
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/xbd is missing")
SHAPE = (1024, 1024)
# Painted in this order, so that rarer and more important classes cover the others.
ORDER = {"un-classified": 5, "no-damage": 1, "destroyed": 4, "major-damage": 3, "minor-damage": 2}


def ours(post: Path) -> tuple[np.ndarray, np.ndarray]:
    labels: dict[Phase, object] = {}
    masks = []
    for phase, path in (("pre", Path(str(post).replace("_post_", "_pre_"))), ("post", post)):
        labels[phase] = label = parse_label(path.read_bytes(), phase, where=path.name)
        polygons = parse_polygons([b.xy for b in label.buildings], path.name)
        codes = [b.damage for b in label.buildings]
        masks.append(
            rasterize_buildings(polygons, SHAPE, "centre")
            if phase == "pre"
            else rasterize_damage(polygons, codes, SHAPE, "centre")
        )
    return masks[0], masks[1]


def paint(features: list[dict], code: int, mask: np.ndarray) -> None:
    """Burn polygon by polygon into a full-size mask."""
    for feature in features:
        inside = rasterize([(from_wkt(feature["wkt"]), 1)], out_shape=SHAPE, dtype="uint8")
        mask[inside == 1] = code


@cache
def theirs(post: Path) -> tuple[np.ndarray, np.ndarray]:
    before, after = (
        json.loads(path.read_text())["features"]["xy"] for path in (Path(str(post).replace("_post_", "_pre_")), post)
    )
    building, damage = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    paint(before, 1, building)
    for word, code in ORDER.items():
        paint([f for f in after if f["properties"]["subtype"] == word], code, damage)
    return building, damage


@pytest.mark.parametrize("post", LABELS, ids=lambda path: path.name[:-19])
def test_masks_equal_those_of_an_independent_rasteriser(post: Path) -> None:
    for mine, other in zip(ours(post), theirs(post), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.slow
def test_class_counts_equal_an_independent_count() -> None:
    records, pixels = [], np.zeros((2, 256), np.int64)
    for post in LABELS:
        building, damage = ours(post)
        scene = np.zeros((*SHAPE, 8), np.uint8)
        scene[..., 6], scene[..., 7] = building, damage
        records.append(scene_record(scene))
        for row, mask in zip(pixels, theirs(post), strict=True):
            codes, counts = np.unique(mask, return_counts=True)
            row[codes] += counts
    counts = count_classes(np.stack(records))
    assert list(counts["pre"].values()) == pixels[0, :2].tolist()
    assert list(counts["post"].values()) == pixels[1, :6].tolist()
    assert sum(counts["post"].values()) == len(LABELS) * 1024**2


def test_masks_agree_with_the_targets_of_the_download(capsys: pytest.CaptureFixture[str]) -> None:
    agreement = {}
    for target in sorted((REAL / "test" / "targets").glob("*_post_disaster_target.png")):
        scene = target.name.removesuffix("_post_disaster_target.png")
        _, damage = ours(REAL / "test" / "labels" / f"{scene}_post_disaster.json")
        with Image.open(target) as image:
            wanted = np.asarray(image)
        # Targets do not contain un-classified buildings.
        agreement[scene] = float((np.where(damage == SUBTYPES["un-classified"], 0, damage) == wanted).mean())
    assert agreement
    with capsys.disabled():
        print("\nequal pixels with test/targets:", {k: f"{v:.4%}" for k, v in agreement.items()})  # noqa: T201
    assert min(agreement.values()) >= 0.97


def test_images_are_read_unchanged() -> None:
    for path in sorted(REAL.glob("*/images/*.png"))[::17]:
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_rgb(path), np.asarray(image.convert("RGB")))
