"""The merged table of a campaign as files, written tile by tile, and its summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.campaign.footprints import Footprints
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.merge import LAYER, Merged, columns_of, merged_buildings
from xview2_siamese_unet.campaign.tiles import Tile
from xview2_siamese_unet.inference.geopackage import write_geopackage
from xview2_siamese_unet.inference.products import buildings_style, read_record
from xview2_siamese_unet.inference.record import newest_file
from xview2_siamese_unet.inference.summary import Tally, assign_zones, cell_names, sentence, summary_numbers

PARQUET: Final = "buildings.parquet"
HISTORY: Final = "history.parquet"
SUMMARIES: Final = ("summary.csv", "summary.json")
_NAMED: Final = 10
"""Largest number of failed jobs that a warning names; all are in `summary.json`."""


def write_table(
    folder: Path,
    tasks: Sequence[Task],
    failed: Mapping[str, str],
    footprints: Footprints | None,
    zones: gpd.GeoDataFrame | None = None,
) -> dict[str, Any]:
    """Write buildings, summaries and, for footprints, the history; return the content of `summary.json`.

    At least one job must be finished.

    Args:
        folder: of the campaign.
        tasks: all jobs.
        failed: job → why it has no assessment.
        footprints: all of them; `None`: the buildings that the model predicted.
        zones: to count by, see `read_zone_layer`.
    """
    done = [task for task in tasks if task.job.name not in failed]
    columns, tally = columns_of((task.scene for task in done), footprints=footprints is not None), Tally()
    images = (image for task in tasks for each in (task.job.pre, task.job.post) if each for image in each.images)
    stamp = newest_file(image.path for image in images if image.path.is_file())
    merged = merged_buildings(tasks, failed, footprints, columns)
    with (
        whole_file(folder / PARQUET) as part,
        RowGroups(part) as parquet,
        _history_file(folder / HISTORY, wanted=footprints is not None) as history,
    ):

        def frames() -> Iterator[tuple[str, gpd.GeoDataFrame]]:
            rows = 0
            for tile, buildings, views in _filled(merged):
                _count(tally, tile, buildings, zones)
                parquet.write(buildings)
                if history is not None and views is not None:
                    history.write(views.assign(row=views["row"] + rows + 1))
                rows += len(buildings)
                yield "buildings", buildings

        write_geopackage(folder / LAYER, frames(), {"buildings": buildings_style()}, stamp)
    table = tally.table()
    numbers = summary_numbers(table, [*tally.warnings(), *_scene_warnings(done, failed)]) | {
        "reasons": {status: dict(counts.most_common()) for status, counts in tally.reasons.items()},
        "footprint_sources": [] if footprints is None else list(footprints.sources),
        "jobs": {"done": len(done), "failed": sorted(failed)},
    }
    numbers["sentence"] = sentence(numbers)
    write_atomically(folder / SUMMARIES[0], table.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / SUMMARIES[1], json.dumps(numbers, indent=2, allow_nan=False))
    return numbers


@contextmanager
def _history_file(path: Path, *, wanted: bool) -> Iterator[RowGroups | None]:
    """Yield the file of the history if it is wanted, else delete that of an earlier run."""
    if wanted:
        with whole_file(path) as part, RowGroups(part) as parquet:
            yield parquet
    else:
        path.unlink(missing_ok=True)
        yield None


def _filled(parts: Iterable[Merged]) -> Iterator[Merged]:
    """Yield the parts with buildings; without any, the last part, because the files need columns."""
    has_buildings, last = False, None
    for last in parts:
        if len(last.buildings):
            has_buildings = True
            yield last
    if not has_buildings and last is not None:
        yield last


def _count(tally: Tally, tile: Tile | None, buildings: gpd.GeoDataFrame, zones: gpd.GeoDataFrame | None) -> None:
    """Count the buildings of a tile in cells of its UTM zone, and in the zones of the user."""
    if tile is None:
        cells = ["nowhere"] * len(buildings)
    else:
        cells = [f"EPSG:{tile.zone} {name}" for name in cell_names(buildings.to_crs(tile.zone))]
    tally.add(buildings, cells, assign_zones(buildings, zones))


def _scene_warnings(done: Sequence[Task], failed: Mapping[str, str]) -> list[str]:
    with_warnings = sum(bool((read_record(task.scene) or {}).get("warnings")) for task in done)
    warnings = []
    if failed:
        named = ", ".join(sorted(failed)[:_NAMED])
        more = f" and {len(failed) - _NAMED:,} more" if len(failed) > _NAMED else ""
        warnings.append(f"{len(failed)} of {len(done) + len(failed)} jobs failed: {named}{more}")
    if with_warnings:
        warnings.append(
            f"{with_warnings} of {len(done)} assessments have warnings: see report.html in their folders in scenes"
        )
    return warnings


class RowGroups:
    """A Parquet or GeoParquet file to which frames with the same columns are added, each as a row group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: pd.DataFrame) -> None:
        """Add rows."""
        buffer = BytesIO()
        if isinstance(frame, gpd.GeoDataFrame):
            frame.to_parquet(buffer, index=False, schema_version="1.1.0", write_covering_bbox=True)
        else:
            frame.to_parquet(buffer, index=False)
        rows = pq.read_table(buffer)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, _schema(rows.schema))
        self._writer.write_table(rows.cast(self._writer.schema))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def _schema(first: pa.Schema) -> pa.Schema:
    """Return the schema of all rows, without the geometry types and bounds of the first ones."""
    if b"geo" not in first.metadata:
        return first
    geo = json.loads(first.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    column["geometry_types"] = []  # any type, by the specification
    column.pop("bbox", None)
    return first.with_metadata({**first.metadata, b"geo": json.dumps(geo).encode()})
