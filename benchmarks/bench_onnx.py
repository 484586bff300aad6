"""Prediction of a pair and a whole assessment by ONNX Runtime, against torch.

    uv run python benchmarks/bench_onnx.py [encoder] [side]      default: resnet18 1024

One network with random weights is exported by `kedro model export`. Torch in single precision, torch in the precision
that `hardware.precision: auto` chooses, and ONNX Runtime then predict the same window in turns, as an assessment does,
with the same number of threads. Then whole assessments of a pair with footprints alternate, torch in the precision of
`auto`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import onnxruntime
import rasterio
import shapely
import torch

from bench_assess_speed import make_random_checkpoint, make_synthetic_pair
from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.inference.prediction import WindowPredictor
from xview2_siamese_unet.models.export import write_model
from xview2_siamese_unet.models.hardware import pick_precision
from xview2_siamese_unet.models.trained import read_model
from xview2_siamese_unet.types import AnyArray

TURNS = 3


def assess_in_turns(models: dict[str, Path], folder: Path, side: int) -> dict[str, float]:
    """Return the seconds of the fastest whole assessment with each model."""
    pair, best = make_synthetic_pair(folder, side), dict.fromkeys(models, float("inf"))
    with rasterio.open(pair.pre) as raster:
        squares = [shapely.box(x, y - 12, x + 12, y) for x, y in (raster.xy(k, k) for k in range(8, side - 32, 64))]
        gpd.GeoDataFrame(geometry=squares, crs=raster.crs).to_file(folder / "footprints.gpkg")
    for _ in range(TURNS):
        for name, model in models.items():
            started = time.perf_counter()
            options = {"footprints": folder / "footprints.gpkg", "registration": "off", "overwrite": True}
            assess(pair.pre, pair.post, folder / name, model=model, device="cpu", **options)
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def main(encoder: str = "resnet18", side: str = "1024") -> None:
    checkpoint, single = make_random_checkpoint(encoder), HardwareParams(device="cpu", precision="32-true")
    automatic = HardwareParams(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        exported = write_model("net", checkpoint, None, Path(folder) / "net.onnx")
        torch.save(checkpoint, saved := Path(folder) / "net.pth")
        card = read_model(exported)
        predictors: dict[str, Callable[[AnyArray, AnyArray], AnyArray]] = {
            "torch, 32-true": WindowPredictor(checkpoint, single),
            f"torch, auto ({pick_precision(automatic, 'cpu')})": WindowPredictor(checkpoint, automatic),
            "ONNX Runtime, fp32": WindowPredictor(card, single),
        }
        pre, post = np.random.default_rng(0).integers(1, 255, (2, 1, int(side), int(side), 3), dtype=np.uint8)
        best, outputs = dict.fromkeys(predictors, float("inf")), {}
        for _ in range(TURNS + 1):  # the first one warms up
            for name, predict in predictors.items():
                started = time.perf_counter()
                outputs[name] = predict(pre, post)
                best[name] = min(best[name], time.perf_counter() - started)
        whole = assess_in_turns({"torch": saved, "onnx": exported}, Path(folder), int(side))
    reference, *_, onnx = best
    print(f"{encoder}, {side} × {side} pixels, {torch.get_num_threads()} threads, torch {torch.__version__}, ", end="")
    print(f"onnxruntime {onnxruntime.__version__}, best of {TURNS + 1}")
    for name, seconds in best.items():
        error = np.abs(outputs[name] - outputs[reference]).max()
        print(f"  {name:<28}{seconds:8.2f} s   max |Δp| {error:.1e}   ratio {seconds / best[reference]:.2f}")
    print(f"ONNX Runtime to torch: {best[onnx] / best[reference]:.2f}")
    print(f"whole assessment: torch, auto {whole['torch']:.2f} s, ONNX Runtime {whole['onnx']:.2f} s, ", end="")
    print(f"ratio {whole['onnx'] / whole['torch']:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
