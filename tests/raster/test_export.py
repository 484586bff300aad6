from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.export import is_synthetic, write_geotiffs
from xview2_siamese_unet.raster.source import read_source


def test_exported_scenes_keep_their_pixels_and_have_georeference_and_date(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 20, 30, 3), dtype=np.uint8)
    for name, image in zip(("a.png", "b.png"), pixels, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    dates = {"pre_date": "2010-01-02T03:04:05.000Z", "post_date": "2011-05-22T10:00:00.000Z"}
    georeference = {"epsg": 32615, "left": 366_700.5, "top": 4_104_000.25, "pixel": 0.47, "residual": 0.0}
    scene = {"scene": "s_00000001", "pre_image": "a.png", "post_image": "b.png", **dates, **georeference}
    written = write_geotiffs(tmp_path, scene, tmp_path / "out")
    assert [path.name for path in written] == ["s_00000001_pre_disaster.tif", "s_00000001_post_disaster.tif"]
    assert [read_source(path).taken for path in written] == ["2010:01:02 03:04:05", "2011:05:22 10:00:00"]
    assert not any(map(is_synthetic, written))
    sample = write_geotiffs(tmp_path, scene | {"scene": "sample-fire_00000001"}, tmp_path / "out")
    assert all(map(is_synthetic, sample))
    for path, image in zip(written, pixels, strict=True):
        with rasterio.open(path) as raster:
            np.testing.assert_array_equal(np.moveaxis(raster.read(), 0, 2), image)
            assert raster.crs.to_epsg() == 32615
            assert (raster.transform.c, raster.transform.f) == (366_700.5, 4_104_000.25)
            assert raster.res == pytest.approx((0.47, 0.47))


@pytest.mark.parametrize("unknown", [None, pd.NA])  # the value in the label file, and in the table
def test_a_scene_without_a_georeference_is_refused_and_nothing_is_written(tmp_path: Path, unknown: object) -> None:
    with pytest.raises(DataError, match="s_00000001 has no georeference"):
        write_geotiffs(tmp_path, {"scene": "s_00000001", "epsg": unknown}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
