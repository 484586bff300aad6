"""Scores of a head fitted on few labels: real scenes of one fire, split in halves, means over repeats.

    uv run python benchmarks/bench_adaptation.py ../shared/santa_rosa [REPEATS [SCENES [SOURCE ...]]]     (10, all, all)

Each repeat splits the scenes in halves, fits on labels of one and prints F1 of damaged buildings (any class above
no-damage) on the other, mean ± standard deviation over 10 repeats. `post` uses the post-disaster image alone, `pair`
adds the difference to the pre-disaster image. `random labels` are drawn at random; `suggested` labels come from
`adaptation.suggest`: 24 that represent all buildings, then 24 at a time that are uncertain. `colour` are mean and
standard deviation of the three bands, for comparison. The last column is the mean predicted share of damaged buildings
over the true share, with 200 (suggested: 96) labels.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two slow hyperthreads are slower than one

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import torch
from affine import Affine

from xview2_siamese_unet.adaptation.embedding import Embedding, Encoder, embed, sample_patches
from xview2_siamese_unet.adaptation.encoders import PretrainedEncoder
from xview2_siamese_unet.adaptation.fitting import Labelled, fit_head, spatial_blocks
from xview2_siamese_unet.adaptation.head import Head
from xview2_siamese_unet.adaptation.random_convolutions import RandomEncoder
from xview2_siamese_unet.adaptation.suggest import feature_space, resemblance, suggest
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.types import Float64Array, Image, Int64Array
from xview2_siamese_unet.xbd.labels import parse_label, parse_polygons
from xview2_siamese_unet.xbd.scenes import ScenePair, list_pairs

SOURCES = ("package", "random", "package+random", "colour")
LABELS = (24, 48, 96, 200)
ROUND = 24
GAP = 128  # black pixels between scenes, which are not neighbours


class Event(NamedTuple):
    """All scenes of an event as one mosaic: buildings, their scene, class and position, and both images."""

    footprints: gpd.GeoSeries
    scene: Int64Array
    classes: Int64Array
    points: Float64Array
    pair: Pair

    @property
    def damaged(self) -> Int64Array:
        """1 for each damaged building, else 0."""
        return (self.classes > Damage.NO_DAMAGE).astype(np.int64)


class ColourEncoder:
    """The three bands and their squares, which give the mean colours of a footprint and their spread."""

    name, strides, channels, digest = "colour", (1,), (6,), "1"

    def __call__(self, image: Image) -> list[np.ndarray]:
        """Return one map."""
        bands = np.moveaxis(image, 2, 0).astype(np.float32) / 255
        return [np.concatenate([bands, bands**2])]


def read_event(root: Path, folder: Path, most: int | None) -> Event:
    """Lay all scenes side by side on one grid, with a gap, and write both mosaics."""
    pairs = list_pairs(root)[0][:most]
    side = len(read_rgb(root / pairs[0].images["pre"]))
    mosaics = [np.zeros((side, len(pairs) * (side + GAP), 3), np.uint8) for _ in range(2)]
    polygons, scenes, classes = [], [], []
    for number, pair in enumerate(pairs):
        for mosaic, phase in zip(mosaics, ("pre", "post"), strict=True):
            left = number * (side + GAP)
            mosaic[:, left : left + side] = read_rgb(root / pair.images[phase])
        shapes, codes = _buildings(root, pair)
        corner = 500_000 + number * (side + GAP) * 0.5, 4_000_000.0
        for polygon, code in zip(shapes, codes, strict=True):
            polygons.append(_placed(polygon, corner, side))
            scenes.append(number)
            classes.append(code)
    paths = [folder / f"{phase}.tif" for phase in ("pre", "post")]
    for path, mosaic in zip(paths, mosaics, strict=True):
        height, width, count = mosaic.shape
        georeference = {"crs": "EPSG:32610", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
        size = {"dtype": "uint8", "count": count, "height": height, "width": width}
        with rasterio.open(path, "w", driver="GTiff", tiled=True, **size, **georeference) as target:
            target.write(np.moveaxis(mosaic, 2, 0))
    footprints = gpd.GeoSeries(polygons, crs="EPSG:32610")
    middles = np.array([(point.x, point.y) for point in footprints.centroid])
    harmonised = harmonise(InferenceParams(pre=paths[0], post=paths[1], registration="off"))
    return Event(footprints, np.array(scenes), np.array(classes, np.int64), middles, harmonised.pair)


def _buildings(root: Path, pair: ScenePair) -> tuple[list[object], list[int]]:
    name = pair.labels["post"]
    label = parse_label((root / name).read_bytes(), "post", where=name)
    known = [building for building in label.buildings if building.damage in SCORED]
    return list(parse_polygons([building.xy for building in known], name)), [int(b.damage or 0) for b in known]


def _placed(polygon: object, corner: tuple[float, float], side: int) -> object:
    clipped = shapely.intersection(polygon, shapely.box(0, 0, side, side))
    return shapely.transform(clipped, lambda xy: np.column_stack([corner[0] + xy[:, 0] / 2, corner[1] - xy[:, 1] / 2]))


def fit(event: Event, embedding: Embedding, features: np.ndarray, labelled: Int64Array) -> Head | None:
    """Return a head fitted on some buildings; `None` with one class."""
    classes = event.damaged[labelled] * 3 + int(Damage.NO_DAMAGE)
    if len(np.unique(classes)) < 2:
        return None
    groups, weights = spatial_blocks(event.points[labelled]), resemblance(features, labelled)
    return fit_head(embedding, Labelled(embedding.rows(labelled), classes, groups, weights))


def predict(head: Head | None, embedding: Embedding, numbers: Int64Array) -> np.ndarray:
    """Return the probability of damage."""
    return np.zeros(len(numbers)) if head is None else 1 - head.probabilities(embedding.rows(numbers))[:, 0]


def f1(true: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * (true & predicted).sum() / max(1, true.sum() + predicted.sum()))


def halves(event: Event, repeats: int) -> Iterator[tuple[Int64Array, Int64Array, np.random.Generator]]:
    count = int(event.scene.max()) + 1
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        first = np.isin(event.scene, rng.permutation(count)[: count // 2])
        yield np.flatnonzero(first), np.flatnonzero(~first), rng


def random_labels(event: Event, embedding: Embedding, features: np.ndarray, repeats: int) -> None:
    scores, shares = np.zeros((repeats, len(LABELS))), []
    for repeat, (one, other, rng) in enumerate(halves(event, repeats)):
        order, true = rng.permutation(one), event.damaged[other] == 1
        for column, count in enumerate(LABELS):
            damage = predict(fit(event, embedding, features, order[:count]), embedding, other)
            scores[repeat, column] = f1(true, damage > 0.5)
        shares.append(damage.mean() / true.mean())
    print(" ".join(f"{m:6.3f} ±{s:.2f}" for m, s in zip(scores.mean(0), scores.std(0), strict=True)), end=" ")
    print(f"{np.mean(shares):6.2f}", flush=True)


def suggested_labels(event: Event, embedding: Embedding, features: np.ndarray, repeats: int) -> None:
    scores, shares = np.zeros((repeats, 3)), []
    on_map = np.hstack([features, feature_space(embedding, event.points)[:, features.shape[1] :]])
    for repeat, (one, other, _) in enumerate(halves(event, repeats)):
        labelled, head, true = np.empty(0, np.int64), None, event.damaged[other] == 1
        for step in range(4):
            margins = None if head is None else np.abs(2 * predict(head, embedding, np.arange(len(embedding))) - 1)
            more = suggest(on_map, np.setdiff1d(one, labelled), ROUND, head, margins)
            labelled = np.concatenate([labelled, more])
            head = fit(event, embedding, features, labelled)
            if step != 2:
                damage = predict(head, embedding, other)
                scores[repeat, min(step, 2)] = f1(true, damage > 0.5)
        shares.append(damage.mean() / true.mean())
    print(" ".join(f"{m:6.3f} ±{s:.2f}" for m, s in zip(scores.mean(0), scores.std(0), strict=True)), end=" ")
    print(f"{'':12} {np.mean(shares):6.2f}", flush=True)


def encoders_of(source: str, event: Event) -> list[Encoder]:
    makers = {
        "package": PretrainedEncoder,
        "random": lambda: RandomEncoder(sample_patches(event.footprints, event.pair)),
        "colour": ColourEncoder,
    }
    return [makers[name]() for name in source.split("+")]


def main(root: Path, repeats: int = 10, most: int | None = None, sources: Sequence[str] = SOURCES) -> None:
    torch.set_num_threads(1)
    kept = os.environ.get("BENCH_FOLDER")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(kept or temporary)
        event = read_event(root, folder, most)
        print(f"{len(event.damaged)} buildings of {event.scene.max() + 1} scenes, {event.damaged.mean():.0%} damaged")
        print(f"{'':38}" + " ".join(f"{count:>12}" for count in LABELS) + "  count")
        for source in sources:
            for post_only in (True, False):
                started = time.perf_counter()
                encoders = encoders_of(source, event)
                embedding = embed(event.footprints, event.pair, encoders, folder, post_only=post_only)
                seconds = time.perf_counter() - started
                what = f"{source}, {'post' if post_only else 'pair'}"
                features = feature_space(embedding)
                print(f"{what + ', random labels':<38}", end="")
                random_labels(event, embedding, features, repeats)
                if source == "package":
                    print(f"{what + ', suggested':<38}", end="")
                    suggested_labels(event, embedding, features, repeats)
                print(f"    ({seconds:.0f} s to embed)", file=sys.stderr)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="sklearn")
    main(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:4]), sources=sys.argv[4:] or SOURCES)
