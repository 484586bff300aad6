"""The table of a campaign with a million buildings: size of the GeoParquet file, and time to read one tile of it.

    uv run python benchmarks/bench_campaign_table.py [TILES ON A SIDE]

400 tiles of 2,500 squares of 9 m, with the columns of an assessment and random values. A row group holds a tile;
GeoPandas skips the others by the bounding boxes in the file. The median of five readings.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import shapely

from xview2_siamese_unet.campaign.footprints import CRS_OF_ALL
from xview2_siamese_unet.campaign.table import RowGroups
from xview2_siamese_unet.campaign.tiles import SIDE, Tile

BUILDINGS = 2500
NUMBERS = ("visible_fraction", "obscured_fraction", "built_fraction", "p_none", "p_minor", "p_major", "p_destroyed")
WORDS = np.array(["no-damage", "minor-damage", "major-damage", "destroyed"])


def buildings(tile: Tile, number: int) -> gpd.GeoDataFrame:
    """Return the rows of a tile."""
    rng = np.random.default_rng(number)
    x, y = (rng.uniform(start * SIDE, start * SIDE + SIDE - 9, BUILDINGS) for start in (tile.column, tile.row))
    damage = rng.integers(1, 5, BUILDINGS)
    columns: dict[str, Any] = {"building_id": [f"{number}-{row}" for row in range(BUILDINGS)]}
    columns |= {name: rng.uniform(size=BUILDINGS).round(4) for name in (*NUMBERS, "confidence", "margin", "shift_px")}
    columns |= {"damage": damage, "damage_label": WORDS[damage - 1], "cems_grade": WORDS[damage - 1], "area_m2": 81.0}
    texts = ("footprint_source", "status", "reason", "basis", "pre_id", "pre_date", "post_id", "post_date", "run_id")
    columns |= {name: f"{name} of {tile.name}" for name in (*texts, "model_id", "scene", "why")}
    shapes = shapely.box(x, y, x + 9, y + 9)
    return gpd.GeoDataFrame(columns | {"gsd_m": 0.5, "n_views": 1}, geometry=shapes, crs=tile.zone).to_crs(CRS_OF_ALL)


def main(across: int) -> None:
    tiles = [Tile(32637, 100 + number % across, 1640 + number // across) for number in range(across**2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "buildings.parquet"
        with RowGroups(path) as table:
            for number, tile in enumerate(tiles):
                table.write(buildings(tile, number))
        size, about = path.stat().st_size / 1e6, pq.read_metadata(path)
        wanted = gpd.GeoSeries([tiles[len(tiles) // 2].box], crs=tiles[0].zone).to_crs(CRS_OF_ALL).total_bounds
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            rows = gpd.read_parquet(path, bbox=tuple(wanted))
            seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        whole = len(gpd.read_parquet(path))
        everything = time.perf_counter() - started
    print(f"{whole:,} rows, {about.num_columns} columns, {about.num_row_groups} row groups: {size:.0f} MB")
    print(f"  one tile, {len(rows):,} rows by bbox   {statistics.median(seconds):6.2f} s")
    print(f"  all rows                     {everything:6.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
