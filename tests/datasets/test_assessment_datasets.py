"""Blocks and record of an assessment, and the previews of its products in Kedro-Viz."""

from __future__ import annotations

import base64
import inspect
import io
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.datasets.assessment import BlocksDataset, Layers, LayersDataset, RecordDataset
from xview2_siamese_unet.datasets.rasters import CogDataset
from xview2_siamese_unet.raster.cog import RasterContent
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.windows import BlockStore, read_block


def test_saving_the_record_removes_only_the_work_of_its_assessment(tmp_path: Path) -> None:
    own = [tmp_path / name for name in (".work", ".damage.tif.a1b2c3.part", ".run.json.a1b2c3.part")]
    foreign = [tmp_path / name for name in (".mine.part", "second/.damage.tif.a1b2c3.part", "second/.work")]
    for folder in (*own, *foreign):
        folder.mkdir(parents=True)
        (folder / "a").write_text("a")
    RecordDataset(filepath=str(tmp_path / "run.json")).save({"run_id": "1"})
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": "1"}
    assert [folder.exists() for folder in own] == [False] * 3
    assert [(folder / "a").exists() for folder in foreign] == [True] * 3


def test_blocks_of_one_run_accumulate_and_those_of_another_are_removed(tmp_path: Path) -> None:
    blocks = BlocksDataset(filepath=str(tmp_path / ".work/blocks"))
    (tmp_path / "run.json").write_text('{"run_id": "0", "products": {"damage.tif": "abc"}}')
    for number in range(2):
        blocks.save({"1": {number: iter([{"block": np.full(3, number)}])}})
    assert not (tmp_path / "run.json").exists()
    assert (tmp_path / ".work/written.txt").read_text().split() == ["abc"]
    with BlockStore(blocks.load() / "1").read_row(1) as row:
        assert read_block(row, "block", 0).tolist() == [1, 1, 1]
    blocks.save({"1": {}})
    assert sorted(path.name for path in blocks.load().rglob("*")) == ["1", "row_000000.zip", "row_000001.zip"]
    blocks.save({"2": {0: []}})
    assert sorted(path.name for path in blocks.load().rglob("*")) == ["2", "row_000000.zip"]


GRID = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, 1600, 800)
ROWS, COLUMNS = slice(0, 400), slice(0, 800)


@pytest.mark.parametrize("bands", [1, 5])
def test_the_preview_of_a_raster_is_a_small_picture(tmp_path: Path, bands: int) -> None:
    values = np.full((bands, 400, 800), 4 if bands == 1 else 50, np.uint8)
    dataset = CogDataset(filepath=str(tmp_path / "x.tif"))
    dataset.save(RasterContent(GRID, tuple("abcde"[:bands]), [(ROWS, COLUMNS, values)], {} if bands == 1 else None))
    assert inspect.signature(dataset.preview).return_annotation == "ImagePreview"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(dataset.preview()))))
    assert picture.shape == (384, 768, 3)
    colours = {tuple(colour) for colour in picture[50:100, 50:100].reshape(-1, 3).tolist()}
    assert (Damage.DESTROYED.rgb in colours) if bands == 1 else (colours == {(204, 204, 204)})
    assert picture[300, 700].tolist() in ([232] * 3, [208] * 3)  # no data


def test_the_preview_of_buildings_is_a_table(tmp_path: Path) -> None:
    shapes = [shapely.box(k, 0, k + 1, 1) for k in range(20)]
    frame = gpd.GeoDataFrame({"building_id": [f"b{k}" for k in range(20)]}, geometry=shapes, crs=GRID.crs)
    dataset = LayersDataset(filepath=str(tmp_path / "x.gpkg"))
    dataset.save(Layers({"buildings": frame}, {}, "2020-01-01T00:00:00.000Z"))
    assert inspect.signature(dataset.preview).return_annotation == "TablePreview"
    table = dataset.preview()
    assert table["columns"] == ["building_id"]
    assert table["data"][-1] == ["b9"]
