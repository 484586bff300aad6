"""The merged table of a campaign as files, written tile by tile, and its summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.campaign.footprints import Footprints
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.merge import LAYER, columns_of, merged_buildings
from xview2_siamese_unet.campaign.tiles import Tile
from xview2_siamese_unet.inference.geopackage import write_geopackage
from xview2_siamese_unet.inference.products import buildings_style, read_record
from xview2_siamese_unet.inference.record import newest_file
from xview2_siamese_unet.inference.summary import Zoned, cell_names, count_table, summary_numbers, summary_warnings

PARQUET: Final = "buildings.parquet"
SUMMARIES: Final = ("summary.csv", "summary.json")
_COUNTED: Final = ["status", "reason", "damage_label"]


def write_table(
    folder: Path, tasks: Sequence[Task], failed: Mapping[str, str], footprints: Footprints | None
) -> dict[str, Any]:
    """Write `buildings.gpkg`, `buildings.parquet`, `summary.csv` and `summary.json`; return the last one's content.

    At least one job must be finished.
    """
    done = [task for task in tasks if task.job.name not in failed]
    columns, counts = columns_of(task.scene for task in done), _Counts()
    images = (image for task in tasks for each in (task.job.pre, task.job.post) if each for image in each.images)
    stamp = newest_file(image.path for image in images if image.path.is_file())
    rows = merged_buildings(tasks, failed, footprints, columns)
    with whole_file(folder / PARQUET) as part, _Parquet(part) as parquet:

        def frames() -> Iterator[tuple[str, gpd.GeoDataFrame]]:
            for frame in _filled(counts.count(rows)):
                parquet.write(frame)
                yield "buildings", frame

        write_geopackage(folder / LAYER, frames(), {"buildings": buildings_style()}, stamp)
    table, warnings = counts.table()
    warnings += _scene_warnings(done, failed)
    numbers = summary_numbers(table, warnings) | {
        "footprint_sources": [] if footprints is None else list(footprints.sources),
        "jobs": {"done": len(done), "failed": sorted(failed)},
    }
    write_atomically(folder / SUMMARIES[0], table.to_csv(index=False))
    write_atomically(folder / SUMMARIES[1], json.dumps(numbers, indent=2, allow_nan=False))
    return numbers


def _filled(frames: Iterable[gpd.GeoDataFrame]) -> Iterator[gpd.GeoDataFrame]:
    """Yield the frames with rows, or one empty frame: the files need columns."""
    found, last = False, None
    for last in frames:
        if len(last):
            found = True
            yield last
    if not found and last is not None:
        yield last


def _scene_warnings(done: Sequence[Task], failed: Mapping[str, str]) -> list[str]:
    doubtful = sum(bool((read_record(task.scene) or {}).get("warnings")) for task in done)
    found = [f"{len(failed)} of {len(done) + len(failed)} jobs failed: {', '.join(sorted(failed))}"] if failed else []
    if doubtful:
        found.append(f"{doubtful} of {len(done)} assessments have warnings: see report.html in their folders in scenes")
    return found


class _Counts:
    """What the summary counts of each building; it is all that is kept of them in memory."""

    def __init__(self) -> None:
        self._rows: list[pd.DataFrame] = []

    def count(self, rows: Iterable[tuple[Tile | None, gpd.GeoDataFrame]]) -> Iterator[gpd.GeoDataFrame]:
        """Yield the buildings of each tile, counted."""
        for tile, frame in rows:
            counted = pd.DataFrame(frame[_COUNTED])
            if tile is None:
                cells = ["nowhere"] * len(frame)
            else:
                cells = [f"EPSG:{tile.zone} {name}" for name in cell_names(frame.to_crs(tile.zone))]
            self._rows.append(counted.assign(cell=cells, zone=-1 if tile is None else tile.zone))
            yield frame

    def table(self) -> tuple[pd.DataFrame, list[str]]:
        """Return counts of all buildings, of each 500 m cell and of each UTM zone, and warnings."""
        rows = pd.concat(self._rows, ignore_index=True)
        zones = sorted({*rows["zone"]} - {-1})
        first = np.array([zones.index(zone) if zone > 0 else -1 for zone in rows["zone"]], int)
        zoned = Zoned([f"EPSG:{zone}" for zone in zones], first, 0)
        return count_table(rows, rows["cell"].tolist(), zoned), summary_warnings(rows)


class _Parquet:
    """A GeoParquet file to which frames with the same columns are added, a row group each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: gpd.GeoDataFrame) -> None:
        """Add rows."""
        buffer = BytesIO()
        frame.to_parquet(buffer, index=False, schema_version="1.1.0", write_covering_bbox=True)
        rows = pq.read_table(buffer)
        if self._writer is None:
            geo = json.loads(rows.schema.metadata[b"geo"])
            column = geo["columns"][geo["primary_column"]]
            column["geometry_types"] = []  # any, as the specification has it: those of later rows are not known
            column.pop("bbox", None)
            schema = rows.schema.with_metadata({**rows.schema.metadata, b"geo": json.dumps(geo).encode()})
            self._writer = pq.ParquetWriter(self._path, schema)
        self._writer.write_table(rows.cast(self._writer.schema))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
