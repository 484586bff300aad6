"""Prediction of a pair by ONNX Runtime, against torch.

    uv run python benchmarks/bench_onnx.py [encoder] [side]      default: resnet18 1024

One network with random weights is exported by `kedro model export`. Torch in single precision, torch in the precision
that `hardware.precision: auto` chooses, and ONNX Runtime then predict the same window in turns, as an assessment does,
with the same number of threads.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from bench_assess_speed import fabricate_checkpoint
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.inference.prediction import WindowPredictor
from xview2_siamese_unet.models.export import write_model
from xview2_siamese_unet.models.hardware import pick_precision
from xview2_siamese_unet.models.trained import read_model
from xview2_siamese_unet.types import AnyArray

TURNS = 3


def main(encoder: str = "resnet18", side: str = "1024") -> None:
    checkpoint, single = fabricate_checkpoint(encoder), HardwareParams(device="cpu", precision="32-true")
    automatic = HardwareParams(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        card = read_model(write_model("net", checkpoint, None, Path(folder) / "net.onnx"))
        predictors: dict[str, Callable[[AnyArray, AnyArray], AnyArray]] = {
            "torch, 32-true": WindowPredictor(checkpoint, single),
            f"torch, auto ({pick_precision(automatic, 'cpu')})": WindowPredictor(checkpoint, automatic),
            "ONNX Runtime, fp32": WindowPredictor(card, single),
        }
        pre, post = np.random.default_rng(0).integers(1, 255, (2, 1, int(side), int(side), 3), dtype=np.uint8)
        best, answers = dict.fromkeys(predictors, float("inf")), {}
        for _ in range(TURNS + 1):  # the first one warms up
            for name, predict in predictors.items():
                started = time.perf_counter()
                answers[name] = predict(pre, post)
                best[name] = min(best[name], time.perf_counter() - started)
    reference, *_, onnx = best
    print(f"{encoder}, {side} × {side} pixels, {torch.get_num_threads()} threads, torch {torch.__version__}, ", end="")
    print(f"onnxruntime {onnxruntime.__version__}, best of {TURNS + 1}")
    for name, seconds in best.items():
        error = np.abs(answers[name] - answers[reference]).max()
        print(f"  {name:<28}{seconds:8.2f} s   max |Δp| {error:.1e}   ratio {seconds / best[reference]:.2f}")
    print(f"ONNX Runtime to torch: {best[onnx] / best[reference]:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
