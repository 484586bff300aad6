from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image
from pyproj import Transformer
from sample_on_disk import SIZE, Sample, ring

from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.synthetic import plan_sample, write_scene
from xview2_siamese_unet.synthetic.events import EVENTS
from xview2_siamese_unet.synthetic.scene import grid_near, to_degrees
from xview2_siamese_unet.xbd.georeference import Georeference, utm_zone
from xview2_siamese_unet.xbd.scenes import PHASES, TIERS, parse_stem

SMALL = SampleScenes(tier1=2, tier3=0, hold=0, test=0)


def digests(root: Path, seed: int, size: int = 64) -> dict[str, str]:
    for scene in plan_sample(SampleParams(seed=seed, scenes=SMALL)):
        write_scene(root, scene, size)
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_bytes(tmp_path: Path) -> None:
    first, again, other = (digests(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


@pytest.mark.slow
def test_files_are_laid_out_as_in_the_download(sample: Sample) -> None:
    found = {str(p.relative_to(sample.root)) for p in sample.root.rglob("*") if p.is_file()}
    assert found == {
        f"{scene.tier}/{folder}/{scene.id.stem(phase)}.{ending}"
        for scene in sample.scenes
        for phase in PHASES
        for folder, ending in (("images", "png"), ("labels", "json"))
    }
    assert all(parse_stem(Path(name).stem) for name in found)


@pytest.mark.slow
def test_labels_match_by_uid_and_only_post_disaster_labels_have_damage(sample: Sample) -> None:
    for scene in sample.scenes:
        pre, post = (sample.label(scene, phase) for phase in PHASES)
        assert [b.uid for b in pre.buildings] == [b.uid for b in post.buildings]
        assert all(b.damage is None for b in pre.buildings)
        assert all(b.damage in (*SCORED, Damage.UNCLASSIFIED) for b in post.buildings)
        assert all(uuid.UUID(b.uid).version == 4 for b in pre.buildings)
        text = (sample.root / scene.tier / "labels" / f"{scene.id.stem('pre')}.json").read_text()
        assert "subtype" not in text
    uids = [b.uid for scene in sample.scenes for b in sample.label(scene, "pre").buildings]
    assert len(set(uids)) == len(uids)


@pytest.mark.slow
def test_metadata_has_every_key_and_names_its_image(sample: Sample) -> None:
    scene = sample.scenes[0]
    for phase in PHASES:
        path = sample.root / scene.tier / "labels" / f"{scene.id.stem(phase)}.json"
        raw = json.loads(path.read_bytes())
        assert set(raw) == {"features", "metadata"}
        assert len(raw["metadata"]) == 18
        assert raw["metadata"]["img_name"] == f"{path.stem}.png"
        assert raw["metadata"]["disaster"] == scene.id.disaster
        assert (raw["metadata"]["width"], raw["metadata"]["height"]) == (SIZE, SIZE)
        for kind in ("lng_lat", "xy"):
            assert all(f["properties"]["feature_type"] == "building" for f in raw["features"][kind])


@pytest.mark.slow
def test_polygons_shift_slightly_between_the_images(sample: Sample) -> None:
    moves = []
    for scene in sample.scenes:
        for pre, post in zip(*(sample.label(scene, phase).buildings for phase in PHASES), strict=True):
            a, b = shapely.Polygon(ring(pre.xy)), shapely.Polygon(ring(post.xy))
            assert a.is_valid
            assert b.is_valid
            if shapely.box(2, 2, SIZE - 2, SIZE - 2).contains(a):
                moves.append(a.centroid.distance(b.centroid))
    assert min(moves) > 0
    assert 0.4 < float(np.median(moves)) < 1.4
    assert max(moves) < 1.9


@pytest.mark.slow
def test_polygons_match_the_image_of_their_label(sample: Sample) -> None:
    """The contrast across the outline of a roof drops if the outline is moved by 3 px."""
    gains = []
    for scene in sample.scenes:
        grey = sample.image(scene, "pre").astype(np.float64).mean(axis=2)
        for building in sample.label(scene, "pre").buildings:
            corners = ring(building.xy)
            if not shapely.box(8, 8, SIZE - 8, SIZE - 8).contains(shapely.Polygon(corners)):
                continue
            steps = np.linspace(0.1, 0.9, 9)[:, None, None]
            points = (corners[:-1] + steps * np.diff(corners, axis=0)).reshape(-1, 2)
            gains.append([_edge_strength(grey, points + offset) for offset in ((0, 0), (3, 3), (-3, -3))])
    true, right, left = np.mean(gains, axis=0)
    assert true > 1.5 * max(right, left)


def _edge_strength(grey: np.ndarray, points: np.ndarray) -> float:
    row, column = (np.clip(points[:, k].astype(int), 1, SIZE - 2) for k in (1, 0))
    return float(
        np.hypot(grey[row, column + 1] - grey[row, column - 1], grey[row + 1, column] - grey[row - 1, column]).mean()
    )


@pytest.mark.slow
def test_pixels_are_square_and_north_up_in_a_utm_zone(sample: Sample) -> None:
    for scene in sample.scenes:
        grids = []
        for phase in PHASES:
            buildings = sample.label(scene, phase).buildings
            if not buildings:
                continue
            xy = np.concatenate([ring(b.xy) for b in buildings])
            degrees = np.concatenate([ring(b.lng_lat or "") for b in buildings])
            metres = np.column_stack(
                Transformer.from_crs(
                    4326, utm_zone(scene.event.longitude, scene.event.latitude), always_xy=True
                ).transform(*degrees.T)
            )
            design = np.column_stack([xy, np.ones(len(xy))])
            grid = np.linalg.lstsq(design, metres, rcond=None)[0]
            assert np.abs(design @ grid - metres).max() < 1e-3
            assert 0.45 <= grid[0, 0] <= 0.50
            np.testing.assert_allclose(grid[:2], [[grid[0, 0], 0], [0, -grid[0, 0]]], atol=1e-5)
            grids.append(grid)
        if grids:
            np.testing.assert_allclose(grids[0], grids[1], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_each_tier_holds_each_class(sample: Sample, tier: str) -> None:
    scenes = [scene for scene in sample.scenes if scene.tier == tier]
    counts = Counter(b.damage for scene in scenes for b in sample.label(scene, "post").buildings)
    assert all(counts[damage] >= 5 for damage in SCORED)


@pytest.mark.slow
def test_classes_are_imbalanced_but_all_occur(sample: Sample) -> None:
    counts = Counter(b.damage for scene in sample.scenes for b in sample.label(scene, "post").buildings)
    share = {damage: count / counts.total() for damage, count in counts.items()}
    assert 0.5 < share[Damage.NO_DAMAGE] < 0.7
    assert all(0.09 < share[damage] < 0.18 for damage in SCORED[1:])
    assert 0.005 < share[Damage.UNCLASSIFIED] < 0.05


@pytest.mark.slow
def test_special_cases_of_the_download_occur(sample: Sample) -> None:
    counts = {scene: len(sample.label(scene, "post").buildings) for scene in sample.scenes}
    assert sum(count == 0 for count in counts.values()) >= 3
    assert 8 <= np.median(list(counts.values())) <= 20
    outside = over = 0
    for scene in sample.scenes:
        for phase in PHASES:
            for building in sample.label(scene, phase).buildings:
                xy = ring(building.xy)
                over += bool((xy < 0).any() or (xy > SIZE).any())
                outside = max(outside, -xy.min(), xy.max() - SIZE)
                assert shapely.box(0, 0, SIZE, SIZE).intersection(shapely.Polygon(xy)).area > 30
    assert over > 20
    assert 0 < outside <= 1
    wedges = [scene for scene in sample.scenes if scene.has_border]
    black = [[(sample.image(s, p) == 0).all(axis=2).mean() for p in PHASES] for s in wedges]
    assert len(black) >= 4
    assert all(0.005 < pre < post < 0.4 for pre, post in black)


@pytest.mark.slow
def test_black_means_no_data_and_the_png_declares_it(sample: Sample) -> None:
    plain = next(scene for scene in sample.scenes if not scene.has_border)
    assert sample.image(plain, "pre").min() > 0
    with Image.open(sample.root / plain.tier / "images" / f"{plain.id.stem('pre')}.png") as image:
        assert image.size == (SIZE, SIZE)
        assert image.info["transparency"] == (0, 0, 0)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = plan_sample(SampleParams(scenes=SMALL))[0]

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_scene(tmp_path, scene, 64)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.slow
def test_a_scene_can_have_the_size_of_xbd_scenes(tmp_path: Path) -> None:
    scene = plan_sample(SampleParams(scenes=SMALL))[0]
    write_scene(tmp_path, scene, 1024)
    written = Sample(tmp_path, (scene,))
    assert written.image(scene, "post").shape == (1024, 1024, 3)
    assert len(written.label(scene, "post").buildings) > 60


def test_a_scene_lies_near_its_event() -> None:
    for event in (event for events in EVENTS.values() for event in events):
        grid = grid_near(event, np.random.default_rng(0))
        np.testing.assert_allclose(to_degrees(grid, np.zeros((1, 2))), [[event.longitude, event.latitude]], atol=0.3)


def test_x_runs_east_and_y_runs_south() -> None:
    grid = Georeference(32616, 500_000.0, 3_300_000.0, 0.5, 0.0)
    to_zone = Transformer.from_crs(4326, 32616, always_xy=True)
    metres = to_zone.transform(*to_degrees(grid, np.array([[0.0, 0.0], [10.0, 4.0]])).T)
    np.testing.assert_allclose(metres, [[500_000, 500_005], [3_300_000, 3_299_998]], atol=1e-6)
