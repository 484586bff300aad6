"""The data_processing pipeline, dataset by dataset, on a sample of six scenes of 64 pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from xview2_siamese_unet.datasets.labels import BuildingsDataset, LabelsDataset
from xview2_siamese_unet.datasets.masks import MasksDataset
from xview2_siamese_unet.datasets.scene_folder import SceneFolderDataset
from xview2_siamese_unet.datasets.store import StoreDataset
from xview2_siamese_unet.errors import ProjectError
from xview2_siamese_unet.params.data_processing import DataProcessingParams
from xview2_siamese_unet.params.dataset import DatasetParams, SampleParams, SampleScenes
from xview2_siamese_unet.pipelines.data_processing.nodes import plan_labels, plan_masks, plan_store
from xview2_siamese_unet.xbd.label_table import Labels

SERIAL = {"kind": "serial"}
PROCESSES = {"kind": "processes", "workers": 2}
SAMPLE = DatasetParams(sample=SampleParams(size=64, scenes=SampleScenes(tier1=2, tier3=2, hold=1, test=1)))
PARAMS = DataProcessingParams()


def folder_dataset(folder: Path, executor: dict = SERIAL, root: Path | None = None) -> SceneFolderDataset:
    return SceneFolderDataset(
        source="xbd" if root else "sample",
        root=str(root) if root else None,
        filepath=str(folder),
        executor=executor,
    )


def labels_of(raw: Path, out: Path, executor: dict = SERIAL, params: DataProcessingParams = PARAMS) -> Labels:
    dataset = LabelsDataset(filepath=str(out / "labels.parquet"), executor=executor)
    dataset.save(plan_labels(raw, SAMPLE, params))
    return dataset.load()


def process(raw: Path, out: Path, executor: dict, params: DataProcessingParams = PARAMS) -> StoreDataset:
    labels = labels_of(raw, out, executor, params)
    BuildingsDataset(filepath=str(out / "buildings.parquet")).save(labels)
    masks = MasksDataset(filepath=str(out / "masks"), executor=executor)
    masks.save(plan_masks(labels, params))
    store = StoreDataset(filepath=str(out / "store"), executor=executor)
    store.save(plan_store(raw, labels.scenes, masks.load(), params))
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def message(caught: pytest.ExceptionInfo[DatasetError]) -> ProjectError:
    """Kedro wraps what a dataset raises."""
    error = caught.value.__cause__
    assert isinstance(error, ProjectError)
    return error
