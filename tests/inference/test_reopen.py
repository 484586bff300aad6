"""A reopened assessment has the pixels that were assessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from assessed_folder import write_assessment
from image_pair import Smooth, Write, whole
from xview2_siamese_unet.config.inference import ImageParams, InferenceParams
from xview2_siamese_unet.errors import DataError, StaleError
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise
from xview2_siamese_unet.inference.reopen import INPUTS, reopen_pair
from xview2_siamese_unet.raster.reader import Pair, ShiftField


@pytest.fixture
def assessed(write_raster: Write, smooth: Smooth, tmp_path: Path) -> tuple[Pair, Path]:
    """An assessment of 16-bit images with an undeclared fill value, blue first, an area of interest and a shift."""
    image = smooth().astype(np.uint16) * 40
    image[:40, :90] = 65535
    pre, post = write_raster("in/pre.tif", image), write_raster("in/post.tif", np.roll(image, 3, axis=1))
    area = shapely.Polygon([(500_000, 4_000_000), (500_140, 4_000_000), (500_000, 3_999_900)])
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32615").to_file(tmp_path / "aoi.gpkg", engine="pyogrio")
    images = ImageParams(pre_bands=(3, 2, 1), post_bands=(3, 2, 1))
    params = InferenceParams(pre=pre, post=post, aoi=tmp_path / "aoi.gpkg", images=images, registration="off")
    harmonised: HarmonisedPair = harmonise(params)
    assert any("65535" in warning for warning in harmonised.warnings)
    pair = replace(harmonised.pair, shift=(3.0, 0.0))
    return pair, write_assessment(tmp_path / "output", pair, params)


def test_a_reopened_pair_has_the_same_pixels(assessed: tuple[Pair, Path]) -> None:
    pair, folder = assessed
    for before, after in zip(
        whole(HarmonisedPair(pair, ())), whole(HarmonisedPair(reopen_pair(folder), ())), strict=True
    ):
        np.testing.assert_array_equal(before, after)
        assert before.any()


def test_a_field_of_shifts_is_kept(assessed: tuple[Pair, Path], tmp_path: Path) -> None:
    pair, folder = assessed
    nodes = np.linspace(-1, 2, 6).reshape(2, 3)
    field = ShiftField((100.0, 150.0), nodes, -nodes)
    settings = json.loads((folder / "run.json").read_text())["settings"]["inference"]
    params = InferenceParams.model_validate(settings)
    other = write_assessment(tmp_path / "other", replace(pair, field=field), params)
    reopened = reopen_pair(other).field
    assert reopened is not None
    assert np.abs(reopened.window(0, 0, 200, 300) - field.window(0, 0, 200, 300)).max() <= 1 / 64


def test_moved_images_need_a_path_and_changed_ones_are_refused(assessed: tuple[Pair, Path], tmp_path: Path) -> None:
    pair, folder = assessed
    before = whole(HarmonisedPair(pair, ()))
    (tmp_path / "in").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"The post-disaster image of .* is not at .*in/post.tif") as refused:
        reopen_pair(folder)
    assert "--post" in refused.value.hint
    given = {name: tmp_path / "moved" / f"{name}.tif" for name in ("pre", "post")}
    np.testing.assert_array_equal(whole(HarmonisedPair(reopen_pair(folder, given), ()))[1], before[1])
    with pytest.raises(StaleError, match="is not the post-disaster image that was assessed"):
        reopen_pair(folder, given | {"post": given["pre"]})
    for content in ("{", "[]", "{}"):
        (folder / INPUTS).write_text(content)
        with pytest.raises(DataError, match=r"The post-disaster image of .* is not at .*output/post.tif"):
            reopen_pair(folder)
    (folder / "run.json").unlink()
    with pytest.raises(DataError, match="holds no finished assessment"):
        reopen_pair(folder)


def test_a_record_opens_no_file_outside_of_its_folder(assessed: tuple[Pair, Path]) -> None:
    pair, folder = assessed
    (folder / INPUTS).unlink()
    record = json.loads((folder / "run.json").read_text())
    record["post"]["name"] = "../in/post.tif"
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"is not at .*output/post\.tif"):
        reopen_pair(folder)
    (folder / INPUTS).write_text(json.dumps({"pre": "../in/pre.tif", "post": str(pair.post.path)}))
    assert reopen_pair(folder).pre.path.samefile(pair.pre.path)


def test_a_post_disaster_image_alone_is_reopened(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    params = InferenceParams(pre=Path("none"), post=write_raster("post.tif", smooth()), registration="off")
    pair = harmonise(params).pair
    folder = write_assessment(tmp_path / "output", pair, params)
    assert json.loads((folder / INPUTS).read_text()).keys() == {"post"}
    reopened = reopen_pair(folder)
    assert reopened.post_only
    np.testing.assert_array_equal(whole(HarmonisedPair(reopened, ()))[1], whole(HarmonisedPair(pair, ()))[1])
