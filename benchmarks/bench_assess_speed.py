"""CPU time of an assessment per megapixel, against a plain fp32 loop over whole tiles.

    uv run python benchmarks/bench_assess_speed.py [encoder] [side]      default: resnet50 2048

Both run the same network with random weights on the same pair, alternating in one process. Our time covers everything
from the files to the finished blocks on disk, overlap included. The plain loop counts only the network and its softmax,
on tiles of 1024 pixels that are already in memory.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.prediction import WindowPredictor, predict_rows
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.predictor import restore
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

TILE = 1024
TURNS = 2


def make_synthetic_pair(folder: Path, side: int) -> InferenceParams:
    """Write a noise pair and return the parameters to assess it."""
    layout = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 5e5, 0, -0.5, 4e6), "tiled": True}
    size = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": side, "width": side}
    for seed, name in enumerate(("pre.tif", "post.tif")):
        with rasterio.open(folder / name, "w", **size, **layout) as target:
            target.write(np.random.default_rng(seed).integers(1, 255, (3, side, side), dtype=np.uint8))
    return InferenceParams(pre=folder / "pre.tif", post=folder / "post.tif", registration="off")


def make_random_checkpoint(encoder: str) -> dict[str, Any]:
    """Return a checkpoint of a network with random weights."""
    torch.manual_seed(0)
    model = ModelParams.model_validate({"encoder": {"name": encoder}})
    return {
        "state": build_net(model, 5).state_dict(),
        "model": model.model_dump(mode="json"),
        "classes": {"unclassified": "ignore"},
        "channels": {"mean": [127.0] * 3, "std": [60.0] * 3},
        "fingerprint": "random",
    }


def plain(checkpoint: dict[str, Any], params: InferenceParams) -> None:
    """Run the network over whole tiles, one by one, in single precision."""
    net, normalise, _ = restore(checkpoint)
    net.eval()
    images = []
    for path in (params.pre, params.post):
        with rasterio.open(path) as raster:
            images.append(torch.from_numpy(raster.read())[None].float())
    side = images[0].shape[-1]
    started = time.perf_counter()
    with torch.inference_mode():
        for top in range(0, side, TILE):
            for left in range(0, side, TILE):
                tiles = (normalise(image[..., top : top + TILE, left : left + TILE]) for image in images)
                for logits in net(*tiles):
                    logits.softmax(dim=1).numpy()
    seconds.setdefault("plain", []).append(time.perf_counter() - started)


def ours(checkpoint: dict[str, Any], params: InferenceParams) -> None:
    """Predict the pair as `kedro assess` does."""
    predictor, windows = WindowPredictor(checkpoint, HardwareParams(device="cpu")), params.windows
    with tempfile.TemporaryDirectory() as blocks:
        started = time.perf_counter()
        pair = harmonise(params).pair
        plan = WindowPlan(pair.grid.height, pair.grid.width, windows.size, windows.overlap)
        store = BlockStore(Path(blocks))
        batch_size = windows.batch_size or predictor.usual_batch
        for number, columns in predict_rows(pair, plan, predictor, store, batch_size):
            store.write_row(number, columns)
        seconds.setdefault("ours", []).append(time.perf_counter() - started)


def main(encoder: str = "resnet50", side: str = "2048") -> None:
    checkpoint = make_random_checkpoint(encoder)
    with tempfile.TemporaryDirectory() as folder:
        params = make_synthetic_pair(Path(folder), int(side))
        for _ in range(TURNS):
            plain(checkpoint, params)
            ours(checkpoint, params)
    megapixels = int(side) ** 2 / 1e6
    best = {name: min(turns) / megapixels for name, turns in seconds.items()}
    windows = params.windows
    print(f"{encoder}, {side} × {side} pixels, {torch.get_num_threads()} threads, seconds a megapixel, best of {TURNS}")
    print(f"  plain loop, fp32, tiles of {TILE}           {best['plain']:7.2f}")
    print(f"  windows of {windows.size}, overlap {windows.overlap}, all included {best['ours']:7.2f}")
    print(f"ratio {best['plain'] / best['ours']:.2f}")


seconds: dict[str, list[float]] = {}

if __name__ == "__main__":
    main(*sys.argv[1:])
