"""What all labels say, read where it is written, and the table of buildings that is made from it."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from kedro_datasets._typing import TablePreview

from xview2_siamese_unet.datasets.execution import run_jobs
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.datasets.stamp import NAME, check_stamp
from xview2_siamese_unet.params.execution import ExecutorParams
from xview2_siamese_unet.raster.io import read_shape
from xview2_siamese_unet.xbd.ingest import LabelPlan, read_labels
from xview2_siamese_unet.xbd.label_table import Labels, write_labels


class LabelsDataset(OneFile[LabelPlan, Labels]):
    """One file of what all labels say; saving reads the labels, loading opens the file.

    Args:
        filepath: the file.
        executor: parameters of `ExecutorParams`.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, executor: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._executor = ExecutorParams(**executor)

    def save(self, data: LabelPlan) -> None:
        """Read both labels of every scene.

        Raises:
            StaleError: the file holds scenes of another choice, which other experiments share.
            DataError: a scene cannot be used, and none may be left out; or none is left.
        """
        folder = self._path.parent
        if not self._path.exists():  # the settings of a run that failed bind nobody
            (folder / NAME).unlink(missing_ok=True)
        check_stamp(folder, data.made_with)
        read = partial(read_labels, data.root, read_shape=read_shape, stop=data.stop)
        write_labels(self._path, data, run_jobs(read, data.pairs, self._executor, "labels read"))

    def load(self) -> Labels:
        """Open the file."""
        return Labels(self._path)

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"executor": self._executor}


class BuildingsDataset(OneFile[Labels, pd.DataFrame]):
    """The table of all buildings; saving copies it from the labels, some thousand rows at a time."""

    def save(self, data: Labels) -> None:
        """Write the table, whole or not at all."""
        data.write_buildings(self._path)

    def load(self) -> pd.DataFrame:
        """Return the table, of `xbd.ingest.BUILDING_COLUMNS`."""
        return pd.read_parquet(self._path)

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows, without reading the rest."""
        with pq.ParquetFile(self._path) as file:
            rows = pa.Table.from_batches(islice(file.iter_batches(nrows), 1), file.schema_arrow)
        return TablePreview(rows.to_pandas().to_dict(orient="split"))
