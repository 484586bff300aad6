"""The table of all buildings, which is written and read some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
from kedro_datasets._typing import TablePreview

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.xbd.ingest import BUILDING_SCHEMA


class BuildingsDataset(OneFile[Callable[[], Iterable[pa.Table]], pq.ParquetFile]):
    """A Parquet file of `BUILDING_COLUMNS`. Saving takes what yields its parts; loading opens the file."""

    def save(self, data: Callable[[], Iterable[pa.Table]]) -> None:
        """Write the table, whole or not at all."""
        with whole_file(self._path) as part, pq.ParquetWriter(part, BUILDING_SCHEMA, compression="zstd") as writer:
            for table in data():
                writer.write_table(table)

    def load(self) -> pq.ParquetFile:
        """Open the file: `iter_batches()` for some rows at a time, `read().to_pandas()` for all."""
        return pq.ParquetFile(self._path)

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows, without reading the rest."""
        with self.load() as file:
            rows = pa.Table.from_batches(islice(file.iter_batches(nrows), 1), file.schema_arrow)
        return TablePreview(rows.to_pandas().to_dict(orient="split"))
