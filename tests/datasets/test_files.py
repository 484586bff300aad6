"""Datasets of one file or folder."""

from __future__ import annotations

import inspect
from base64 import b64encode
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from kedro.io import DatasetError
from matplotlib import rc_context
from matplotlib.figure import Figure

from xview2_siamese_unet.datasets.files import FigureDataset, FoldersDataset
from xview2_siamese_unet.datasets.rasters import MaskDataset, ProbabilityDataset
from xview2_siamese_unet.raster.io import LEVELS, as_bytes
from xview2_siamese_unet.report.figures import draw_matrix
from xview2_siamese_unet.xbd.georeference import Georeference


def test_a_mask_is_saved_and_loaded(tmp_path: Path) -> None:
    dataset = MaskDataset(filepath=str(tmp_path / "a.tif"))
    assert not dataset.exists()
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    dataset.save((codes, Georeference(32616, 1.0, 2.0, 0.5, 0.0)))
    np.testing.assert_array_equal(dataset.load(), codes)
    assert dataset.exists()
    assert "a.tif" in str(dataset)


def test_probabilities_of_a_scene_are_saved_and_loaded(tmp_path: Path) -> None:
    dataset = ProbabilityDataset(filepath=str(tmp_path / "a.tif"))
    assert not dataset.exists()
    shares = np.random.default_rng(0).dirichlet(np.ones(5), (6, 7)).transpose(2, 0, 1)
    dataset.save((as_bytes(shares), Georeference(32616, 1.0, 2.0, 0.5, 0.0)))
    assert dataset.exists()
    np.testing.assert_allclose(dataset.load() / LEVELS, shares, atol=0.5 / LEVELS)
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.descriptions == ("background", "no-damage", "minor-damage", "major-damage", "destroyed")
        assert raster.scales == (1 / LEVELS,) * 5
        assert raster.crs.to_epsg() == 32616
    assert "a.tif" in str(dataset)


@pytest.mark.parametrize(("name", "kind", "start"), [("a.svg", "svg+xml", b"<?xml"), ("a.png", "png", b"\x89PNG")])
def test_a_figure_is_previewed_as_it_was_saved(tmp_path: Path, name: str, kind: str, start: bytes) -> None:
    dataset = FigureDataset(filepath=str(tmp_path / "new" / name))
    assert not dataset.exists()
    figure = Figure((2, 1))
    figure.subplots().plot([0, 1])
    dataset.save(figure)
    assert dataset.load() == (tmp_path / "new" / name).read_bytes()
    assert dataset.load().startswith(start)
    assert f'src="data:image/{kind};base64,{b64encode(dataset.load()).decode()}"' in dataset.preview()
    assert inspect.signature(dataset.preview).return_annotation == "HTMLPreview"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_an_svg_equals_that_of_matplotlib(tmp_path: Path) -> None:
    with rc_context({"svg.hashsalt": "fixed"}):
        for save in (
            FigureDataset(filepath=str(tmp_path / "ours.svg")).save,
            partial(Figure.savefig, fname=tmp_path / "theirs.svg", metadata={"Date": None}),
        ):
            save(draw_matrix(np.eye(3, dtype=np.int64), ["a", "b", "c"], "Title", "px"))
    assert (tmp_path / "ours.svg").read_bytes() == (tmp_path / "theirs.svg").read_bytes()


def test_folders_are_created_when_they_are_loaded(tmp_path: Path) -> None:
    dataset = FoldersDataset(filepath=str(tmp_path / "a"), folders={"logs": "logs"})
    assert not (tmp_path / "a").exists()
    assert dataset.load() == {"logs": tmp_path / "a" / "logs"}
    assert (tmp_path / "a" / "logs").is_dir()
    with pytest.raises(DatasetError, match="not saved"):
        dataset.save({"logs": tmp_path})
    assert "logs" in str(dataset)
