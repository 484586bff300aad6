"""Buildings below composited clouds that an assessment flags as obscured, false flags, and the time it takes.

    uv run python benchmarks/bench_obscured.py ../shared/xbd ../shared/santa_rosa ../shared/joplin

Clouds of 100 to 300 m, white to grey, with soft edges and a shadow, are laid over the post-disaster image of scenes of
1024 × 1024 pixels: of the sample, and of the folders that are named. Every scene is also searched without clouds.
`covered` buildings lie for the most part below an opacity of 0.8 or more, `clear` ones below less than 0.05 and in no
shadow; `white roofs` and `bare ground` are clear ones that are bright, or surrounded by bright ground, in the image
without clouds. Targets: at least 95 % of covered, less than 1 % of clear buildings, less than 3 % of white roofs and of
bare ground, less than 10 % more time than the prediction alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy import ndimage

from bench_assess_speed import make_random_checkpoint
from xview2_siamese_unet.config.dataset import SampleParams
from xview2_siamese_unet.config.inference import BuildingParams, InferenceParams
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.inference.buildings import ASSESSED, NOT_ASSESSED, SHARES, hide_obscured
from xview2_siamese_unet.inference.obscured import with_obscured
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.prediction import WindowPredictor, predict_rows
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan
from xview2_siamese_unet.synthetic import plan_sample
from xview2_siamese_unet.synthetic.canvas import noise, smoothstep
from xview2_siamese_unet.synthetic.scene import render
from xview2_siamese_unet.xbd.labels import parse_label, parse_polygons
from xview2_siamese_unet.xbd.scenes import list_pairs

SIDE = 1024
GEOREFERENCE = {"crs": "EPSG:32610", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
KINDS = ("covered", "clear", "white roofs", "bare ground", "in shadow")


class Scene(NamedTuple):
    """Both images of a scene, and footprints in pixels."""

    pre: np.ndarray
    post: np.ndarray
    footprints: list[shapely.Polygon]


def synthetic_scenes() -> Iterator[Scene]:
    """Draw scenes of the sample that have buildings and no cloud."""
    for scene in plan_sample(SampleParams()):
        if not (scene.has_cloud or scene.is_empty):
            drawn = render(scene, SIDE)
            pre, post = (drawn.views[phase].image for phase in ("pre", "post"))
            shift = drawn.views["pre"].shot.shift
            yield Scene(pre, post, [shapely.Polygon(house.outline() + shift) for house in drawn.houses])


def real_scenes(root: Path) -> Iterator[Scene]:
    """Yield the scenes of a folder in the layout of xBD, else the corner of `pre`, `post` and `footprints.geojson`."""
    if (root / "footprints.geojson").is_file():
        harmonised = harmonise(
            InferenceParams(pre=root / "pre", post=root / "post", footprints=root / "footprints.geojson")
        )
        with harmonised.pair.open() as reader:
            patch = reader.read(0, 0, SIDE, SIDE)
        to_pixels = ~harmonised.pair.grid.transform
        polygons = harmonised.footprints.geometry.to_numpy()
        placed = shapely.transform(polygons, lambda xy: np.column_stack(to_pixels @ tuple(xy.T)))
        yield Scene(patch.pre, patch.post, [one for one in placed if shapely.box(0, 0, SIDE, SIDE).contains(one)])
        return
    for pair in list_pairs(root)[0]:
        name = pair.labels["pre"]
        label = parse_label((root / name).read_bytes(), "pre", where=name)
        footprints = parse_polygons([building.xy for building in label.buildings], name)
        yield Scene(*(read_rgb(root / pair.images[phase]) for phase in ("pre", "post")), list(footprints))


def lay_clouds(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image below clouds, and the opacity of the clouds and of their shadow."""
    side = len(image)
    billow = ndimage.zoom(noise(rng, side // 4, rng.uniform(20, 50), 5), 4, order=1)  # about 100 to 300 m wide
    first = np.quantile(billow, rng.uniform(0.5, 0.8))
    opacity = smoothstep(billow, first - 0.2, first + 0.3) * rng.uniform(0.85, 1)
    shade = np.roll(opacity, rng.integers(40, 120, 2), (0, 1)) * 0.6
    grey = rng.uniform(140, 250) + 8 * ndimage.zoom(noise(rng, side // 4, 8, 3), 4, order=1)
    colour = (grey[..., None] * rng.uniform(0.97, 1.03, 3)).clip(0, 255)
    below = image * (1 - shade[..., None])
    cloudy = below + opacity[..., None] * (colour - below)
    return np.where(image.any(axis=2, keepdims=True), np.rint(cloudy), 0).astype(np.uint8), opacity, shade


def flagged(scene: Scene, post: np.ndarray, frame: gpd.GeoDataFrame, folder: Path) -> np.ndarray:
    """Return which buildings an assessment of a pair flags."""
    paths = {}
    for name, image in (("pre", scene.pre), ("post", post)):
        paths[name] = folder / f"{name}.tif"
        size = {"dtype": "uint8", "count": 3, "height": len(image), "width": len(image)}
        with rasterio.open(paths[name], "w", driver="GTiff", **size, **GEOREFERENCE) as target:
            target.write(np.moveaxis(image, 2, 0))
    params = InferenceParams(**paths, registration="off")
    obscured = with_obscured(harmonise(params), params).obscured
    hidden = hide_obscured(frame.copy(), obscured, BuildingParams())["status"] == NOT_ASSESSED
    return hidden.to_numpy()


def measure(scene: Scene, rng: np.random.Generator, folder: Path) -> pd.DataFrame:
    """Return a row for each building without and with clouds: its kinds, and whether it is flagged."""
    valid = (scene.pre.any(axis=2) & scene.post.any(axis=2)).astype(float)
    numbers = rasterize(
        ((footprint, number) for number, footprint in enumerate(scene.footprints, 1)), valid.shape, dtype="int32"
    )
    index = np.unique(numbers[numbers > 0])
    index = index[ndimage.mean(valid, numbers, index) > 0.95]
    footprints = [scene.footprints[number - 1] for number in index]
    placed = [
        shapely.transform(one, lambda xy: np.column_stack(GEOREFERENCE["transform"] @ tuple(xy.T)))
        for one in footprints
    ]
    facts = {"visible_fraction": 1.0, "status": ASSESSED, "reason": None, **dict.fromkeys(SHARES, 0.25)}
    frame = gpd.GeoDataFrame(geometry=placed, crs=GEOREFERENCE["crs"]).assign(**facts)
    around = ndimage.maximum_filter(numbers, 31) * (numbers == 0)
    darkest = scene.post.min(axis=2).astype(float)
    white = ndimage.mean(darkest, numbers, index) > 150
    with np.errstate(invalid="ignore"):  # NaN without any ground around, which is not bright
        bare = ndimage.mean(darkest, around, index) > 110
    rows = []
    nothing = np.zeros(valid.shape)
    for post, opacity, shade in ((scene.post, nothing, nothing), lay_clouds(scene.post, rng)):
        covered = ndimage.mean(opacity >= 0.8, numbers, index) > 0.5
        above = ndimage.maximum(opacity, numbers, index) < 0.05
        dark = ndimage.maximum(shade, numbers, index)
        clear = above & (dark < 0.05)
        kinds = (covered, clear, clear & white, clear & bare, above & (dark > 0.3))
        rows.append(pd.DataFrame(dict(zip(KINDS, kinds, strict=True))))
        rows[-1]["flagged"] = flagged(scene, post, frame, folder)
    return pd.concat(rows)


def extra_time(scene: Scene, folder: Path, encoder: str) -> tuple[float, float]:
    """Return seconds to predict the pair that lies in a folder, and to search it for clouds."""
    params = InferenceParams(pre=folder / "pre.tif", post=folder / "post.tif", registration="off")
    harmonised, windows = harmonise(params), params.windows
    predictor = WindowPredictor(make_random_checkpoint(encoder), HardwareParams(device="cpu"))
    plan = WindowPlan(harmonised.pair.grid.height, harmonised.pair.grid.width, windows.size, windows.overlap)
    predicted, searched = [], []
    for turn in range(3):
        started = time.perf_counter()
        store = BlockStore(folder / f"blocks{turn}")
        for number, columns in predict_rows(harmonised.pair, plan, predictor, store, 1):
            store.write_row(number, columns)
        middle = time.perf_counter()
        with_obscured(harmonised, params)
        predicted.append(middle - started)
        searched.append(time.perf_counter() - middle)
    return min(predicted), min(searched)


def main(roots: list[Path], most: int | None, encoder: str) -> None:
    sources = {"synthetic": islice(synthetic_scenes(), 12)} | {root.name: real_scenes(root) for root in roots}
    print(f"{'buildings flagged':<24}" + "".join(f"{kind:>22}" for kind in KINDS))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, scenes in sources.items():
            tables, scene = [], None
            for number, scene in enumerate(islice((one for one in scenes if one.footprints), most)):
                tables.append(measure(scene, np.random.default_rng(number), folder))
            table = pd.concat(tables)
            cells = (table.loc[table[kind], "flagged"] for kind in KINDS)
            print(f"{name:<24}" + "".join(f"{f'{one.sum()} of {len(one)}':>14}{one.mean():>8.2%}" for one in cells))
        predicted, searched = extra_time(scene, folder, encoder)
    print(f"{encoder}, {SIDE} × {SIDE} pixels, best of 3: prediction {predicted:.2f} s, search {searched:.2f} s")
    print(f"more time: {searched / predicted:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("roots", type=Path, nargs="*")
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--encoder", default="resnet18")
    arguments = parser.parse_args()
    main(arguments.roots, arguments.scenes, arguments.encoder)
