"""What all labels say, in one Parquet file: one row a scene, its buildings inside it.

Written and read a few scenes at a time, so that memory does not grow with the dataset: the polygons of all of xBD are
the only thing besides pixels that would not fit into a small machine twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.ingest import BUILDING_COLUMNS, PROBLEM_COLUMNS, SCENE_COLUMNS, Row, SceneLabels

_ARROW: Final = {"str": pa.string(), "int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64()}
_GROUP: Final = 2048
"""Buildings in memory at a time, about."""


def _fields(columns: dict[str, str]) -> list[pa.Field]:
    return [pa.field(name, _ARROW[kind]) for name, kind in columns.items() if name != "scene"]


_SCHEMA: Final = pa.schema(
    [
        pa.field("scene", pa.string()),
        pa.field("facts", pa.struct(_fields(SCENE_COLUMNS))),
        pa.field("problem", pa.struct(_fields(PROBLEM_COLUMNS))),
        pa.field("buildings", pa.list_(pa.struct(_fields(BUILDING_COLUMNS)))),
    ]
)


class Labels:
    """The file opened for reading; holds nothing in memory.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def scenes(self) -> pd.DataFrame:
        """The scenes that can be used: a table of `SCENE_COLUMNS`."""
        return self._table("facts", SCENE_COLUMNS)

    @property
    def problems(self) -> pd.DataFrame:
        """All problems: a table of `PROBLEM_COLUMNS`."""
        return self._table("problem", PROBLEM_COLUMNS)

    def rows(self) -> Iterator[tuple[Row, list[Row]]]:
        """Yield each scene of `scenes` as a row, unknown values `None`, and its buildings."""
        for batch in self._groups(["scene", "facts", "buildings"]):
            for line in batch.to_pylist():
                if line["facts"] is not None:
                    yield {"scene": line["scene"], **line["facts"]}, line["buildings"]

    def buildings(self, columns: Sequence[str] = tuple(BUILDING_COLUMNS)) -> Iterator[pa.Table]:
        """Yield the buildings in tables of some thousand rows.

        Args:
            columns: of `BUILDING_COLUMNS`; the others are not read.
        """
        inner = [f"buildings.list.element.{name}" for name in columns if name != "scene"]
        for batch in self._groups(["scene", *inner]):
            lists = batch["buildings"]
            owners = batch["scene"].take(pc.list_parent_indices(lists))
            values = pa.Table.from_struct_array(lists.flatten()).append_column("scene", owners)
            yield values.select(columns)

    def _table(self, part: str, columns: dict[str, str]) -> pd.DataFrame:
        table = pq.read_table(self.path, columns=["scene", part])
        table = table.filter(pc.is_valid(table[part])).combine_chunks()
        values = pa.Table.from_struct_array(table[part]).append_column("scene", table["scene"])
        frame: pd.DataFrame = values.select(list(columns)).to_pandas()
        return frame.astype(columns)

    def _groups(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=columns).combine_chunks().to_batches()


def write_labels(path: Path, results: Iterable[SceneLabels], root: Path) -> None:
    """Write what the labels of some scenes say, whole or not at all.

    Args:
        path: of the file.
        results: in the order in which tables are to have them.
        root: the dataset folder, for the error.

    Raises:
        DataError: not one of the scenes can be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    usable, first_problem = 0, None
    try:
        with pq.ParquetWriter(part, _SCHEMA, compression="zstd") as writer:
            for group in _grouped(results):
                writer.write_batch(pa.RecordBatch.from_pylist([_line(labels) for labels in group], _SCHEMA))
                usable += sum(labels.scene is not None for labels in group)
                first_problem = first_problem or next((labels.problem for labels in group if labels.problem), None)
        if not usable:
            raise _nothing_left(root, first_problem)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _grouped(results: Iterable[SceneLabels]) -> Iterator[list[SceneLabels]]:
    group: list[SceneLabels] = []
    weight = 0
    for labels in results:
        group.append(labels)
        weight += 1 + len(labels.buildings)
        if weight >= _GROUP:
            yield group
            group, weight = [], 0
    if group:
        yield group


def _line(labels: SceneLabels) -> dict[str, Any]:
    problem = None if labels.problem is None else dict(zip(PROBLEM_COLUMNS, labels.problem, strict=True))
    scene = (labels.scene or problem or {})["scene"]
    return {"scene": scene, "facts": labels.scene, "problem": problem, "buildings": labels.buildings}


def _nothing_left(root: Path, problem: tuple[str, ...] | None) -> DataError:
    _, where, found, *_ = problem or ("", str(root), "nothing")
    return DataError(
        str(root),
        found=f"no usable scene (first problem: {where}, {found})",
        allowed="at least one scene without a problem",
        remedy="set dataset.root to the folder of the unpacked xBD download",
    )
