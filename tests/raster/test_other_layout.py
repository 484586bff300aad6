"""Scenes of another layout become scenes of xBD, or are refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from kedro.io import DatasetError
from PIL import Image

from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.other_layout import OtherLayout, OtherScene, SceneId
from xview2_siamese_unet.datasets.partitions import DownloadDataset, Partitions, SceneFolderDataset
from xview2_siamese_unet.errors import ConfigError, DataError, ProjectError, StaleError, cause_of
from xview2_siamese_unet.pipelines.data_processing.nodes import provide_scenes
from xview2_siamese_unet.raster.io import read_shape
from xview2_siamese_unet.raster.other_layout import convert_scene
from xview2_siamese_unet.xbd.ingest import NO_GEOREFERENCE, read_labels
from xview2_siamese_unet.xbd.labels import parse_label
from xview2_siamese_unet.xbd.scenes import list_pairs

OTHER = DatasetParams(source="other", name="mine")
SQUARE = shapely.box(2, 3, 12, 13)
UTM = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)


class Squares(OtherLayout):
    """Pairs `<n>_pre.png` and `<n>_post.png`, and the class of one square in `<n>.txt`."""

    def scenes(self) -> Iterator[OtherScene]:
        for labels in sorted(self.path.glob("*.txt")):
            images = (self.path / f"{labels.stem}_{phase}.png" for phase in ("pre", "post"))
            yield OtherScene("tier3", SceneId("flood", int(labels.stem)), *images, labels)

    def buildings(self, scene: OtherScene) -> gpd.GeoDataFrame:
        return gpd.GeoDataFrame({"damage": [scene.labels.read_text()]}, geometry=[SQUARE])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "theirs"
    root.mkdir()
    for n in range(3):
        for phase in ("pre", "post"):
            Image.fromarray(np.full((32, 48, 3), 90 + n, np.uint8)).save(root / f"{n}_{phase}.png")
        (root / f"{n}.txt").write_text("destroyed")
    return root


def convert(root: Path, out: Path, executor: ExecutorParams = ExecutorParams()) -> Path:  # noqa: B008  frozen
    folder = SceneFolderDataset(filepath=str(out), source="other")
    folder.save(provide_scenes(Squares(path=str(root)).load(), OTHER, executor))
    return folder.load()


def refusal(root: Path, out: Path) -> ProjectError:
    with pytest.raises(Exception, match=r"\w") as caught:
        convert(root, out)
    error = cause_of(caught.value)
    assert isinstance(error, ProjectError)
    return error


@pytest.mark.parametrize("kind", ["serial", pytest.param("processes", marks=pytest.mark.slow)])
def test_pairs_without_a_georeference_are_converted(root: Path, tmp_path: Path, kind: str) -> None:
    folder = convert(root, tmp_path / "ours", ExecutorParams.model_validate({"kind": kind, "workers": 2}))
    pairs, problems = list_pairs(folder)
    assert [str(pair.scene) for pair in pairs] == [f"flood_0000000{n}" for n in range(3)]
    assert not problems
    assert {(folder / name).resolve().parent for pair in pairs for name in pair.images.values()} == {root}
    row, problem = read_labels(folder, pairs[0], read_shape=read_shape, stop=True)
    assert row is not None
    assert (row["width"], row["height"], row["buildings"]) == (48, 32, 1)
    assert "epsg" not in row
    assert problem is not None
    assert problem[-1] == NO_GEOREFERENCE
    (building,) = parse_label((folder / pairs[0].labels["post"]).read_bytes(), "post", where="x").buildings
    assert shapely.from_wkt(building.xy).equals(SQUARE)
    assert building.damage is not None
    assert building.damage.word == "destroyed"


def test_only_changed_labels_are_converted_again(root: Path, tmp_path: Path) -> None:
    folder = convert(root, tmp_path / "ours")
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    (root / "1.txt").write_text("no-damage")
    convert(root, tmp_path / "ours")
    changed = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {"flood_00000001_pre_disaster.json", "flood_00000001_post_disaster.json"}
    assert "no-damage" in (folder / "tier3/labels/flood_00000001_post_disaster.json").read_text()


def test_other_scenes_and_other_code_are_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(root, tmp_path / "ours")
    (root / "2.txt").rename(tmp_path / "2.txt")
    error = refusal(root, tmp_path / "ours")
    assert isinstance(error, StaleError)
    assert re.search(r"made with scenes \w+ \(now", error.message)
    (tmp_path / "2.txt").rename(root / "2.txt")
    convert(root, tmp_path / "ours")
    monkeypatch.setattr("inspect.getfile", lambda _: str(root / "2.txt"))
    assert re.search(r"made with code \w+ \(now", refusal(root, tmp_path / "ours").message)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("ruined", "1 buildings of damage 'ruined', not one of no-damage"), ("background", "not one of")],
)
def test_an_unknown_class_is_refused(root: Path, tmp_path: Path, word: str, sentence: str) -> None:
    (root / "1.txt").write_text(word)
    assert sentence in refusal(root, tmp_path / "ours").message


def test_missing_and_repeated_scenes_are_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "1_post.png").unlink()
    assert "1_post.png: no such file" in refusal(root, tmp_path / "ours").message
    monkeypatch.setattr(Squares, "scenes", lambda self: 2 * [OtherScene("test", SceneId("a", 1), root, root, root)])
    assert "2 scenes a_00000001" in refusal(root, tmp_path / "ours").message
    monkeypatch.setattr(Squares, "scenes", lambda self: [OtherScene("test", SceneId("a_b", 1), root, root, root)])
    assert "a_b_00000001" in refusal(root, tmp_path / "ours").message
    monkeypatch.setattr(Squares, "scenes", lambda self: [])
    assert "has no scene of Squares" in refusal(root, tmp_path / "ours").message


def tif(path: Path, transform: Affine = UTM, size: int = 32, crs: str | None = "EPSG:32615") -> Path:
    profile = {"height": size, "width": size, "count": 3, "dtype": "uint8", "crs": crs, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **profile) as target:
        target.write(np.full((3, size, size), 7, np.uint8))
    return path


HOUSE = shapely.box(500_002, 3_999_983, 500_012, 3_999_993)


def frame(damage: object = "no-damage", geometry: object = HOUSE, crs: str | None = "EPSG:32615") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"damage": [damage]}, geometry=[geometry], crs=crs)


def labels_of(pre: Path, post: Path, buildings: gpd.GeoDataFrame) -> list[bytes]:
    scene = OtherScene("tier1", SceneId("flood", 1), pre, post, pre.with_name("labels"))
    return [data for _, data in convert_scene(scene, lambda _: buildings) if isinstance(data, bytes)]


def test_degrees_metres_and_pixels_give_the_same_label(tmp_path: Path) -> None:
    images = tif(tmp_path / "a.tif"), tif(tmp_path / "b.tif")
    in_pixels = shapely.transform(frame().geometry[0], lambda xy: np.column_stack(~UTM @ (xy[:, 0], xy[:, 1])))
    frames = (frame(), frame().to_crs(4326), frame(crs=None, geometry=in_pixels))
    polygons = []
    for buildings in frames:
        (found,) = parse_label(labels_of(*images, buildings)[1], "post", where="x", georeferenced=True).buildings
        assert found.lng_lat is not None
        polygons.append([shapely.get_coordinates(shapely.from_wkt(text)) for text in (found.xy, found.lng_lat)])
    for xy, lng_lat in polygons[1:]:
        np.testing.assert_allclose(xy, polygons[0][0], atol=1e-4)
        np.testing.assert_allclose(lng_lat, polygons[0][1], atol=1e-9)
    assert polygons[0][0].min(axis=0).tolist() == [4, 14]


@pytest.mark.parametrize(
    ("post", "buildings", "sentence"),
    [
        ({"transform": UTM @ Affine.translation(0.01, 0)}, frame(), "do not lie on one grid"),
        ({"size": 33}, frame(), "do not lie on one grid"),
        ({"crs": "EPSG:32616"}, frame(), "do not lie on one grid"),
        ({}, frame().drop(columns="damage"), "without a column damage"),
        ({}, frame(damage=float("nan")), "damage nan, not one of"),
        ({}, frame(geometry=shapely.Point(1, 1)), "of type Point"),
        ({}, frame(geometry=None), "of type None"),
    ],
)
def test_invalid_images_and_buildings_are_refused(
    tmp_path: Path, post: dict[str, object], buildings: gpd.GeoDataFrame, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        labels_of(tif(tmp_path / "a.tif"), tif(tmp_path / "b.tif", **post), buildings)


def test_polygons_in_degrees_need_a_georeferenced_image(root: Path) -> None:
    with pytest.raises(DataError, match=r"WGS 84, but .*0_post\.png has none"):
        labels_of(root / "0_pre.png", root / "0_post.png", frame().to_crs(4326))
    with pytest.raises(DataError, match="neither a PNG nor a GeoTIFF"):
        labels_of(root / "a.jp2", root / "b.jp2", frame())


@pytest.mark.parametrize(
    ("source", "download", "sentence"),
    [
        ("other", None, "download is not a dataset in another layout"),
        ("other", Path("xbd"), "download is not a dataset in another layout"),
        ("xbd", Partitions({}, what="scenes"), "download is a dataset in another layout"),
    ],
)
def test_the_source_must_match_the_catalog_entry(source: str, download: object, sentence: str) -> None:
    dataset = DatasetParams.model_validate({"source": source, "root": "xbd", "name": "x"})
    with pytest.raises(ConfigError, match=sentence):
        provide_scenes(download, dataset, ExecutorParams())


def test_the_sample_needs_no_download_entry(root: Path) -> None:
    sample = provide_scenes(Squares(path=str(root)).load(), DatasetParams(), ExecutorParams())
    assert sample.keys() == provide_scenes(None, DatasetParams(), ExecutorParams()).keys()


def test_downloads_are_read_only(root: Path) -> None:
    assert DownloadDataset(source="other", path=str(root)).load() is None
    with pytest.raises(DatasetError, match="read only"):
        Squares(path=str(root)).save("x")
