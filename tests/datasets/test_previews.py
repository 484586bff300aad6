"""Previews of datasets in Kedro-Viz, which chooses them by the name of the return annotation."""

from __future__ import annotations

import base64
import inspect
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sample_data import process, provide

from xview2_siamese_unet.datasets.checkpoint import CheckpointDataset
from xview2_siamese_unet.datasets.files import HtmlDataset
from xview2_siamese_unet.datasets.partitions import MasksDataset
from xview2_siamese_unet.datasets.preview import ROWS, picture_of_masks
from xview2_siamese_unet.datasets.store import BuildingsDataset
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import write_mask
from xview2_siamese_unet.xbd.ingest import BUILDING_COLUMNS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The datasets of data_processing with the outputs of a run."""
    folder = tmp_path_factory.mktemp("data")
    raw = provide(folder / "raw")
    store = process(raw.load(), folder)
    masks = MasksDataset(filepath=str(folder / "masks"))
    buildings = BuildingsDataset(filepath=str(folder / "buildings.parquet"))
    return {"raw": raw, "masks": masks, "store": store, "buildings": buildings}


@pytest.mark.parametrize(("name", "columns"), [("raw", 2), ("masks", 2), ("store", 3)])
def test_folders_show_pictures(made: dict[str, object], name: str, columns: int) -> None:
    dataset = made[name]
    assert inspect.signature(dataset.preview).return_annotation == "ImagePreview"  # type: ignore[attr-defined]
    picture = Image.open(io.BytesIO(base64.b64decode(dataset.preview())))  # type: ignore[attr-defined]
    assert picture.size == (columns * 256, ROWS * 256)
    assert len(picture.getcolors(1 << 20)) > 1  # not one flat colour


def test_a_damaged_mask_is_reported_in_one_sentence(made: dict[str, MasksDataset], tmp_path: Path) -> None:
    shutil.copytree(made["masks"].load()("tier1").folder, tmp_path / "masks")
    path = sorted(tmp_path.glob("masks/*/*_damage.tif"))[0]
    path.with_name(f"._{path.name}").write_bytes(bytes(100))  # a metadata file of macOS
    assert picture_of_masks(tmp_path / "masks") == made["masks"].preview()
    write_mask(path, np.full((64, 64), 9, np.uint8))
    with pytest.raises(DataError, match=f"{path} contains class code 9"):
        picture_of_masks(tmp_path / "masks")


def test_a_table_shows_its_first_rows(made: dict[str, BuildingsDataset]) -> None:
    dataset = made["buildings"]
    assert inspect.signature(dataset.preview).return_annotation == "TablePreview"
    shown, whole = dataset.preview(nrows=1), dataset.load().read().to_pandas()
    assert shown["columns"] == list(BUILDING_COLUMNS)
    assert shown["data"] == whole.head(1).to_numpy().tolist()
    assert len(whole) > 1


def test_a_table_without_rows_shows_its_columns(tmp_path: Path) -> None:
    dataset = BuildingsDataset(filepath=str(tmp_path / "buildings.parquet"))
    pd.DataFrame(columns=list(BUILDING_COLUMNS)).to_parquet(tmp_path / "buildings.parquet")
    assert dataset.preview() == {"index": [], "columns": list(BUILDING_COLUMNS), "data": []}


def test_a_checkpoint_shows_its_texts_and_not_its_tensors(tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "x.pth"))
    dataset.save({"state": {"w": torch.zeros(2)}, "history": [{"epoch": 0}], "epoch": 3, "scores": {"score": 0.5}})
    assert inspect.signature(dataset.preview).return_annotation == "JSONPreview"
    assert json.loads(dataset.preview()) == {"epoch": 3, "scores": {"score": 0.5}}


def test_a_page_is_shown_as_it_was_saved(tmp_path: Path) -> None:
    dataset = HtmlDataset(filepath=str(tmp_path / "new" / "page.html"))
    assert not dataset.exists()
    dataset.save("<p>größer</p>")
    assert inspect.signature(dataset.preview).return_annotation == "HTMLPreview"
    assert dataset.preview() == dataset.load() == "<p>größer</p>"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
