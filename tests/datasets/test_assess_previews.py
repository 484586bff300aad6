"""What Kedro-Viz shows of an assessment."""

from __future__ import annotations

import base64
import inspect
import io
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.datasets.assess_layers import Layers, LayersDataset
from xview2_siamese_unet.datasets.assess_raster import CogDataset
from xview2_siamese_unet.raster.cog import RasterContent
from xview2_siamese_unet.raster.grid import Grid

GRID = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, 1600, 800)
ROWS, COLUMNS = slice(0, 400), slice(0, 800)


@pytest.mark.parametrize("bands", [1, 5])
def test_a_raster_is_a_picture_of_bearable_size(tmp_path: Path, bands: int) -> None:
    values = np.full((bands, 400, 800), 4 if bands == 1 else 50, np.uint8)
    dataset = CogDataset(filepath=str(tmp_path / "x.tif"))
    dataset.save(RasterContent(GRID, tuple("abcde"[:bands]), [(ROWS, COLUMNS, values)], {} if bands == 1 else None))
    assert inspect.signature(dataset.preview).return_annotation == "ImagePreview"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(dataset.preview()))))
    assert picture.shape == (384, 768, 3)
    colours = {tuple(colour) for colour in picture[50:100, 50:100].reshape(-1, 3).tolist()}
    assert (Damage.DESTROYED.rgb in colours) if bands == 1 else (colours == {(204, 204, 204)})
    assert picture[300, 700].tolist() in ([232] * 3, [208] * 3)  # no data


def test_buildings_are_a_table(tmp_path: Path) -> None:
    shapes = [shapely.box(k, 0, k + 1, 1) for k in range(20)]
    frame = gpd.GeoDataFrame({"building_id": [f"b{k}" for k in range(20)]}, geometry=shapes, crs=GRID.crs)
    dataset = LayersDataset(filepath=str(tmp_path / "x.gpkg"))
    dataset.save(Layers({"buildings": frame}, {}, "2020-01-01T00:00:00.000Z"))
    assert inspect.signature(dataset.preview).return_annotation == "TablePreview"
    table = dataset.preview()
    assert table["columns"] == ["building_id"]
    assert table["data"][-1] == ["b9"]
