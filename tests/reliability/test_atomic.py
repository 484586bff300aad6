"""A failed save leaves the earlier file unchanged and no other file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import fsspec
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from kedro.io import DataCatalog, DatasetError
from matplotlib.figure import Figure
from PIL import Image

from xview2_siamese_unet.adaptation.embedding import Block
from xview2_siamese_unet.adaptation.head import Calibration, Head
from xview2_siamese_unet.atomic import AtomicLocalFileSystem, whole_file
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.datasets.assessment import Layers
from xview2_siamese_unet.datasets.checkpoint import CheckpointDataset
from xview2_siamese_unet.datasets.rasters import CogDataset, MaskDataset
from xview2_siamese_unet.errors import StorageError, cause_of
from xview2_siamese_unet.raster.cog import RasterContent
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import read_bands
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
RNG = np.random.default_rng(0)


class MakeConf(Protocol):
    def __call__(self, storage: Path) -> Path: ...


def noise(side: int) -> Any:  # noqa: ANN401
    """Return bytes that cannot be compressed."""
    return RNG.integers(0, 256, (side, side), np.uint8)


def table(side: int) -> pd.DataFrame:
    return pd.DataFrame({"number": RNG.random(side**2)})


def figure(side: int) -> Figure:
    drawn = Figure(figsize=(side / 100, side / 100), dpi=100)
    drawn.figimage(noise(side))
    return drawn


def raster(side: int) -> RasterContent:
    grid = Grid("EPSG:32633", 0, 0, 0.5, side, side)
    blocks = [(slice(0, side), slice(0, side), noise(side)[None])]
    return RasterContent(grid, ("noise",), blocks)


def layers(side: int) -> Layers:
    frame = gpd.GeoDataFrame(table(side), geometry=[shapely.box(0, 0, 1, 1)] * side**2, crs=32633)
    return Layers({"main": frame, "more": frame.head(1)}, {"main": "<qgis/>"}, "2020-01-01T00:00:00Z")


def formats(side: int) -> dict[str, gpd.GeoDataFrame]:
    return {"geojson": layers(max(side // 4, 8)).frames["main"].to_crs(4326)}


def head(side: int) -> Head:
    values = RNG.random(side**2).astype(np.float32)
    slopes, starts = np.stack([values, -values], axis=1), np.zeros(2, np.float32)
    return Head((1, 4), values, values, slopes, starts, Calibration(), (Block("made", 1.0, 0, side**2),), 1.0)


def text(side: int) -> str:
    return "x" * side**2


OWN = "xview2_siamese_unet.datasets."
EXAMPLES: dict[str, Callable[[int], Any]] = {
    "pandas.CSVDataset": table,
    "pandas.ParquetDataset": table,
    "json.JSONDataset": lambda side: {"text": text(side)},
    f"{OWN}files.FigureDataset": figure,
    f"{OWN}files.HtmlDataset": text,
    f"{OWN}files.TextDataset": text,
    f"{OWN}assessment.HeadDataset": head,
    f"{OWN}checkpoint.CheckpointDataset": lambda side: {"state": {"w": torch.rand(side, side)}},
    f"{OWN}rasters.CogDataset": raster,
    f"{OWN}assessment.LayersDataset": layers,
    f"{OWN}assessment.FormatsDataset": formats,
    f"{OWN}assessment.RecordDataset": lambda side: {"text": text(side)},
    f"{OWN}assessment.BlocksDataset": lambda side: {"run": {0: [{"block": noise(side)}]}},
    f"{OWN}rasters.MaskDataset": lambda side: {"scene": (noise(side), None)},
    f"{OWN}rasters.ProbabilityDataset": lambda side: {"scene": (np.stack([noise(side)] * 5), None)},
    "pillow.ImageDataset": lambda side: {"scene": Image.fromarray(noise(side))},
}
"""Type of dataset → function that makes data to save, larger than side² bytes."""
WORKING = {
    f"{OWN}{name}"
    for name in (
        "store.BuildingsDataset",
        "partitions.StampDataset",
        "files.RunRecordDataset",
        "partitions.SceneFolderDataset",
        "partitions.MasksDataset",
        "store.StoreDataset",
    )
}
"""Saved in parts, or only compared; tested in test_killed_runs.py and test_disks_that_refuse.py."""
READ_ONLY = {
    f"{OWN}files.FoldersDataset",
    f"{OWN}partitions.DownloadDataset",
    f"{OWN}assessment.AssessmentDataset",
    "MemoryDataset",
}


def catalog_of(conf: Path) -> dict[str, dict[str, Any]]:
    return UserExperimentConfigLoader(conf, **CONFIG_LOADER_ARGS)["catalog"]


def kind_of(entry: dict[str, Any]) -> str:
    kind: str = entry.get("dataset", entry)["type"]
    return kind


SAVED = {name: kind_of(entry) for name, entry in catalog_of(CONF).items()}
ONE_OF_EACH = {kind: name for name, kind in sorted(SAVED.items()) if kind in EXAMPLES}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path, leave: int) -> None:
    """Fill a disk until `leave` bytes are free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        file.write(bytes(shutil.disk_usage(folder).free - leave))


def test_every_dataset_type_of_the_catalog_is_tested() -> None:
    assert set(SAVED.values()) == EXAMPLES.keys() | WORKING | READ_ONLY


@pytest.mark.parametrize("name", ONE_OF_EACH.values(), ids=ONE_OF_EACH.keys())
def test_a_full_disk_leaves_the_earlier_file_and_no_other(small_disk: Path, make_conf: MakeConf, name: str) -> None:
    catalog = DataCatalog.from_config(catalog_of(make_conf(small_disk)))
    example = EXAMPLES[SAVED[name]]
    catalog.save(name, example(8))
    fill(small_disk, 64 * 1024)
    before = contents(small_disk)
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever Kedro wraps it in
        catalog.save(name, example(1024))
    assert contents(small_disk) == before
    ours = cause_of(caught.value)
    assert isinstance(ours, StorageError)
    assert str(small_disk) in ours.message
    assert "no space left" in str(ours)
    (small_disk / "filler").unlink()
    catalog.save(name, example(8))
    assert set(contents(small_disk)) == set(before) - {"filler"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_full_disk_leaves_earlier_checkpoints_of_both_formats(small_disk: Path, suffix: str) -> None:
    dataset = CheckpointDataset(filepath=str(small_disk / f"best{suffix}"))
    dataset.save({"state": {"w": torch.zeros(8)}, "epoch": 1})
    fill(small_disk, 64 * 1024)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        dataset.save({"state": {"w": torch.rand(1024, 1024)}, "epoch": 2})
    assert isinstance(cause_of(caught.value), StorageError)
    assert dataset.load()["epoch"] == 1
    assert {path.name for path in small_disk.iterdir()} == {f"best{suffix}", "filler"}


@pytest.mark.parametrize(
    ("kind", "data"), [(CogDataset, lambda: raster(256)), (MaskDataset, lambda: (noise(256) % 6, None))]
)
def test_a_truncated_raster_is_always_an_error(
    small_disk: Path, kind: type[CogDataset | MaskDataset], data: Callable[[], Any]
) -> None:
    """GDAL writes much of a file when it closes it, and errors are easily lost then."""
    dataset = kind(filepath=str(small_disk / "a.tif"))
    refused = 0
    for leave in range(0, 320 * 1024, 8 * 1024):
        fill(small_disk, leave)
        try:
            dataset.save(data())
        except DatasetError as error:
            refused += isinstance(cause_of(error), StorageError)
        else:
            assert np.bincount(read_bands(small_disk / "a.tif")[0, -8:].ravel()).max() < 1000  # noise to the last row
            (small_disk / "a.tif").unlink()
        assert list(contents(small_disk)) == ["filler"]
    assert 3 < refused < 35


def test_a_partly_written_text_is_dropped_after_an_error(tmp_path: Path) -> None:
    files, path = AtomicLocalFileSystem(), tmp_path / "new" / "a.txt"
    with files.open(str(path), "w", encoding="utf-8") as file:
        file.write("ä")
    with suppress(ZeroDivisionError), files.open(str(path), "w") as file:
        file.write("b" * 100_000)
        file.write(1 / 0)
    assert contents(tmp_path) == {"new/a.txt": "ä".encode()}


def test_a_file_exists_only_after_it_is_closed(tmp_path: Path) -> None:
    file = AtomicLocalFileSystem().open(str(tmp_path / "a"), "wb")
    file.write(b"1")
    assert not (tmp_path / "a").exists()
    file.close()
    assert contents(tmp_path) == {"a": b"1"}


def test_appending_and_transactions_are_left_to_fsspec(tmp_path: Path) -> None:
    files = AtomicLocalFileSystem()
    (tmp_path / "a").write_text("1")
    with files.open(str(tmp_path / "a"), "ab") as file:
        file.write(b"2")
    assert files.cat(str(tmp_path / "a")) == b"12"
    with files.transaction, files.open(str(tmp_path / "b"), "wb") as file:
        file.write(b"3")
    assert contents(tmp_path) == {"a": b"12", "b": b"3"}


def test_fsspec_uses_the_atomic_file_system() -> None:
    assert isinstance(fsspec.filesystem("file"), AtomicLocalFileSystem)


def test_other_errors_are_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a") as part:
        part.write_text("half" * (1 // 0))
    assert contents(tmp_path) == {}
