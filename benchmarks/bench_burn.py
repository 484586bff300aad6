"""Burning one label file into a mask of 1024², against two plain implementations; one core.

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_burn.py ../shared/xbd [ROUNDS]

The university project's way: json → pandas → geopandas → rasterio. The fill way: json → shapely → fillPoly on a
full-size mask per polygon, which is then laid over the others. All three give the same classes for the same labels;
ours and the university project's also the same pixels. The first target is missed: a twentieth of the university
project's time is little more than msgspec and GEOS need to read the text. OpenCV is not a dependency; the command adds
it:

    uv run --with opencv-python-headless python benchmarks/bench_burn.py ../shared/xbd
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import geopandas
import numpy as np
import pandas as pd
import shapely
from rasterio.features import rasterize
from shapely.wkt import loads

from xview2_siamese_unet.damage import OVERLAP_PRIORITY, SUBTYPES
from xview2_siamese_unet.raster.rasterize import rasterize_damage
from xview2_siamese_unet.xbd.labels import parse_label, parse_polygons

SHAPE = (1024, 1024)
RANK = {code: rank for rank, code in enumerate(reversed(OVERLAP_PRIORITY))}
Way = Callable[[Path], object]


def read(path: Path) -> tuple[np.ndarray, list[int]]:
    """Read polygons and their classes."""
    label = parse_label(path.read_bytes(), "post", where=path.name)
    return parse_polygons([b.xy for b in label.buildings], path.name), [b.damage for b in label.buildings]


def ours(path: Path) -> np.ndarray:
    return rasterize_damage(*read(path), SHAPE, "centre")


def seed(path: Path) -> np.ndarray:
    """Burn as the university project at 80b7726 does: label to table to geometries, rasterised by rasterio.

    Only the drawing order is ours; there, the last building of the file stays on top.
    """
    with path.open(encoding="utf-8") as file:
        label = pd.read_json(file)
    features, metadata = label["features"]["xy"], label["metadata"]
    table = pd.DataFrame({"wkt": [feature["wkt"] for feature in features]})
    table["subtype"] = [feature["properties"]["subtype"] for feature in features]
    for key in ("img_name", "disaster", "disaster_type"):
        table[key] = metadata[key]
    table["damage"] = table["subtype"].apply(lambda word: int(SUBTYPES[word]))
    if table.empty:
        return np.zeros(SHAPE, np.uint8)
    frame = geopandas.GeoDataFrame({"geometry": [loads(text) for text in table["wkt"]], "damage": table["damage"]})
    frame = frame.sort_values("damage", key=lambda damage: damage.map(RANK))
    return rasterize(list(zip(frame.geometry, frame.damage, strict=True)), out_shape=SHAPE).astype(np.uint8)


def fill(path: Path) -> np.ndarray:
    """Fill each polygon on a separate mask, then lay it over the rest."""
    features = json.loads(path.read_text(encoding="utf-8"))["features"]["xy"]
    mask = np.zeros(SHAPE, np.uint8)
    for feature in sorted(features, key=lambda f: RANK[SUBTYPES[f["properties"]["subtype"]]]):
        ring = np.array(shapely.from_wkt(feature["wkt"]).exterior.coords, np.int32)
        one = np.zeros(SHAPE, np.uint8)
        cv2.fillPoly(one, [ring], 1)
        mask[one == 1] = SUBTYPES[feature["properties"]["subtype"]]
    return mask


def milliseconds(way: Way, labels: list[Path]) -> float:
    started = time.process_time()  # of this process only
    for path in labels:
        way(path)
    return 1000 * (time.process_time() - started) / len(labels)


def main(root: Path, rounds: int) -> None:
    cv2.setNumThreads(1)
    labels = sorted(root.glob("*/labels/*_post_disaster.json"))
    for path in labels:  # warms the file cache and checks that all masks are equal
        assert (ours(path) == seed(path)).all(), path
        assert (ours(path) == fill(path)).mean() > 0.95, path
    # Alternating, so that other load slows all of them.
    taken = [[milliseconds(way, labels) for way in (ours, read, seed, fill)] for _ in range(rounds)]
    mine, reading, theirs, filled = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"one label JSON → mask, CPU time, mean of {len(labels)} labels, median of {rounds} rounds in turns")
    print(f"  this project                  {mine:7.2f} ms")
    print(f"    of which reading the text   {reading:7.2f} ms")
    print(f"  json, pandas, geopandas       {theirs:7.2f} ms   ratio {theirs / mine:5.1f}  (target: at least 20)")
    print(f"  fillPoly on full-size masks   {filled:7.2f} ms   ratio {filled / mine:5.1f}  (target: at least 8)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
