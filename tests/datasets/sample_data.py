"""The nodes and datasets of data_processing, one after the other, on a sample of six scenes of 64 pixels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from xview2_siamese_unet.config.data_processing import DataProcessingParams
from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams, SampleScenes
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import DownloadDataset, MasksDataset, SceneFolderDataset
from xview2_siamese_unet.datasets.store import BuildingsDataset, StoreDataset
from xview2_siamese_unet.errors import ProjectError
from xview2_siamese_unet.pipelines.data_processing.nodes import (
    burn_masks,
    list_scenes,
    pack_scenes,
    parse_labels,
    provide_scenes,
    tabulate_buildings,
)

SERIAL = ExecutorParams()
PROCESSES = ExecutorParams(kind="processes", workers=2)
SAMPLE = DatasetParams(sample=SampleParams(size=64, scenes=SampleScenes(tier1=2, tier3=2, hold=1, test=1)))
PARAMS = DataProcessingParams()


def provide(
    folder: Path, root: Path | None = None, executor: ExecutorParams = SERIAL, params: DatasetParams = SAMPLE
) -> SceneFolderDataset:
    """Generate the sample, or use the download at `root`."""
    where = {"source": "xbd" if root else "sample", "path": str(root) if root else None}
    dataset = SceneFolderDataset(filepath=str(folder), **where)
    dataset.save(provide_scenes(DownloadDataset(**where).load(), params, executor))
    return dataset


def tables(
    raw: Path, executor: ExecutorParams = SERIAL, params: DataProcessingParams = PARAMS, dataset: DatasetParams = SAMPLE
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return files and scenes."""
    files = list_scenes(raw, params)
    return files, parse_labels(raw, files, dataset, params, executor)[1]


def burn(
    raw: Path, out: Path, executor: ExecutorParams = SERIAL, params: DataProcessingParams = PARAMS
) -> MasksDataset:
    masks = MasksDataset(filepath=str(out / "masks"))
    masks.save(burn_masks(raw, *tables(raw, executor), params, executor))
    return masks


def process(
    raw: Path, out: Path, executor: ExecutorParams = SERIAL, params: DataProcessingParams = PARAMS
) -> StoreDataset:
    files, scenes = tables(raw, executor, params)
    buildings = BuildingsDataset(filepath=str(out / "buildings.parquet"))
    buildings.save(tabulate_buildings(raw, files, scenes, executor))
    masks = burn(raw, out, executor, params)
    store = StoreDataset(filepath=str(out / "store"))
    store.save(pack_scenes(raw, scenes, masks.load(), params, executor))
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def project_error(caught: pytest.ExceptionInfo[DatasetError]) -> ProjectError:
    """Return the error that Kedro has wrapped."""
    error = caught.value.__cause__
    assert isinstance(error, ProjectError)
    return error
