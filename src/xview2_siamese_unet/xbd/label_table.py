"""What all labels say, in one Parquet file: one row a scene, its buildings inside it.

Written and read a few scenes at a time, so that memory does not grow with the dataset. The flat tables that other tools
and later pipelines read (scenes, buildings, problems) are made from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.ingest import (
    BUILDING_COLUMNS,
    PROBLEM_COLUMNS,
    SCENE_COLUMNS,
    LabelPlan,
    Row,
    SceneLabels,
    problem_row,
)

_ARROW: Final = {"str": pa.string(), "int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64()}
_GROUP: Final = 2048
"""Buildings in memory at a time, about."""


def _schema(columns: dict[str, str]) -> pa.Schema:
    return pa.schema([pa.field(name, _ARROW[kind]) for name, kind in columns.items()])


def _inner(columns: dict[str, str]) -> pa.StructType:
    return pa.struct([field for field in _schema(columns) if field.name != "scene"])


_BUILDINGS: Final = _schema(BUILDING_COLUMNS)
_SCHEMA: Final = pa.schema(
    [
        pa.field("scene", pa.string()),
        pa.field("facts", _inner(SCENE_COLUMNS)),
        pa.field("problem", _inner(PROBLEM_COLUMNS)),
        pa.field("buildings", pa.list_(_inner(BUILDING_COLUMNS))),
    ]
)


class Labels:
    """The file opened for reading; holds nothing in memory.

    Args:
        path: of the file.

    Raises:
        DataError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError(
                str(path),
                found="no labels",
                allowed="a file that data_processing wrote",
                remedy="run kedro run --pipelines data_processing with the same environment first",
            )
        self._path = path

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

    def write_buildings(self, path: Path) -> None:
        """Write the buildings of all scenes as a table for others to read, whole or not at all."""
        with _written(path, _BUILDINGS) as writer:
            for table in self.buildings():
                writer.write_table(table)

    def _table(self, part: str, columns: dict[str, str]) -> pd.DataFrame:
        table = pq.read_table(self._path, columns=["scene", part])
        table = table.filter(pc.is_valid(table[part]))
        values = pa.Table.from_struct_array(table[part].combine_chunks()).append_column("scene", table["scene"])
        frame: pd.DataFrame = values.select(list(columns)).to_pandas()
        return frame.astype(columns)

    def _groups(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=columns).combine_chunks().to_batches()


def write_labels(path: Path, plan: LabelPlan, results: Iterable[SceneLabels]) -> None:
    """Write what the labels of some scenes say, whole or not at all.

    Args:
        path: of the file.
        plan: what was to be read; the problems that pairing found come first.
        results: in the order in which tables are to have them.

    Raises:
        DataError: a scene has a problem, and the first is to stop; or not one of the scenes can be used.
    """
    incomplete = (SceneLabels(None, [], problem_row(_named(e), e, stop=plan.stop)) for e in plan.problems)
    usable, first_problem = 0, None
    with _written(path, _SCHEMA) as writer:
        for group in _grouped(chain(incomplete, results)):
            writer.write_batch(pa.RecordBatch.from_pylist([_line(labels) for labels in group], _SCHEMA))
            usable += sum(labels.scene is not None for labels in group)
            first_problem = first_problem or next((labels.problem for labels in group if labels.problem), None)
        if not usable:
            raise _nothing_left(plan.root, first_problem)


def _named(problem: DataError) -> str:
    """Return the scene or the file, whose name may hold spaces, that the sentence of a problem begins with."""
    file = re.match(r".*?\.(?:png|tiff?|json)\b", problem.message, re.IGNORECASE)
    return file[0] if file else problem.message.split(maxsplit=1)[0].removesuffix(":")


@contextmanager
def _written(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    with whole_file(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        yield writer


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
    first = f" The first problem: {problem[1].removesuffix('.')}." if problem else ""
    return DataError(
        f"{root} has no usable scene.{first}", hint="Set dataset.root to the folder of the unpacked xBD download."
    )
