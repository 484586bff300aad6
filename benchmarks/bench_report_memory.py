"""Peak memory of scoring with 40 and with 400 synthetic scenes of 1024².

    uv run python benchmarks/bench_report_memory.py [FEW MANY]

Each number of scenes runs in its own process and does what the reporting pipeline does after prediction: count pixels
and probabilities, match buildings, score, write the report with its pictures. A few scenes repeat, mapped from files.
Anonymous memory is sampled every 10 ms, because the system may drop pages of a mapped file. Target: growth below 15 %.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import shapely
from matplotlib.figure import Figure

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.datasets.files import FigureDataset
from xview2_siamese_unet.metrics.buildings import match_scenes
from xview2_siamese_unet.metrics.summary import count_scenes
from xview2_siamese_unet.pipelines.reporting import nodes
from xview2_siamese_unet.raster.io import read_bands, write_probabilities
from xview2_siamese_unet.raster.store import Scene
from xview2_siamese_unet.report.figures import draw_class_histogram, draw_curves
from xview2_siamese_unet.report.page import CALIBRATION, CHARTS
from xview2_siamese_unet.xbd.ingest import PROBLEM_COLUMNS

SIDE, DISTINCT = 1024, 4
COLUMNS = ("train_loss", "validation_loss", "validation_score", "validation_localization_f1", "validation_damage_f1")
HISTORY = pd.DataFrame({"epoch": [0, 1], **dict.fromkeys(COLUMNS, 0.5)})
SETTINGS = Parameters().model_dump(mode="json")
RUN = {
    "version": "0",
    "dataset": "x",
    "fingerprint": "0",
    "epoch": 0,
    "history": [{"epoch": 0}],
    "classes": SETTINGS["classes"],
    "recipe": {name: SETTINGS[name] for name in Recipe.model_fields},
}
OF_TRAINING: dict[str, Any] = {
    "class_counts": {"pre": {"background": 9, "building": 1}, "post": {code.word: 1 for code in Damage}},
    "run": {"id": "0", "settings": SETTINGS},
    "checkpoint": RUN,
    "problems": pd.DataFrame(columns=list(PROBLEM_COLUMNS)),
}
"""Inputs of the report in addition to the scores."""


class Peak:
    """Samples the anonymous memory of this process, in MiB."""

    def __init__(self) -> None:
        self.value = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            now = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.value = max(self.value, now / 1024)

    def stop(self) -> float:
        """Return the highest sample."""
        self._done.set()
        self._thread.join()
        return self.value


def write_synthetic_scenes(folder: Path) -> tuple[list[Any], list[Any]]:
    """Write masks and predictions of a few scenes; return the buildings of each and its file of predictions."""
    rng, buildings = np.random.default_rng(0), []
    for number in range(DISTINCT):
        pixels, predicted = np.zeros((SIDE, SIDE, 8), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        pixels[..., :6] = rng.integers(0, 255, (SIDE, SIDE, 6))
        rows = []
        for y, x in rng.integers(0, SIDE - 50, (60, 2)).tolist():
            h, w, code = (int(value) for value in (*rng.integers(8, 40, 2), rng.integers(1, 5)))
            pixels[y : y + h, x : x + w, 6], pixels[y : y + h, x : x + w, 7] = 1, code
            predicted[y : y + h, x + 2 : x + w + 2] = rng.choice([code, rng.integers(1, 5)])
            rows.append(
                (
                    ("no-damage", "minor-damage", "major-damage", "destroyed")[code - 1],
                    shapely.box(x, y, x + w, y + h).wkt,
                )
            )
        np.save(folder / f"pixels{number}.npy", pixels)
        np.save(folder / f"predicted{number}.npy", predicted)
        shares = rng.integers(0, 51, (5, SIDE, SIDE)).astype(np.uint8)
        np.put_along_axis(shares, predicted[None].astype(np.intp), np.uint8(150), axis=0)
        write_probabilities(folder / f"shares{number}.tif", shares)
        buildings.append(rows)
    return buildings, [folder / f"predicted{number}.npy" for number in range(DISTINCT)]


class Store:
    """A store of any number of scenes that repeats a few synthetic ones."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scene(self, name: str) -> Scene:
        """Return the scene used for a name."""
        return Scene(np.load(self.root / f"pixels{int(name[-8:]) % DISTINCT}.npy", mmap_mode="r"))


def save(path: Path, figure: Figure) -> bytes:
    """Return the bytes of the file that a run saves."""
    dataset = FigureDataset(filepath=str(path))
    dataset.save(figure)
    return dataset.load()


def measure(scenes: int) -> tuple[float, float, float]:
    """Score the scenes as the pipeline does; return peak memory and page size in MiB, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        drawn, files = write_synthetic_scenes(root)
        names = [f"event-{number % 6}_{number:08d}" for number in range(scenes)]
        events = [name.split("_")[0] for name in names]
        facts = pd.DataFrame({"scene": names, "disaster": events, "disaster_type": "fire"})
        rows = [
            (f"{name}-{k}", name, *row) for n, name in enumerate(names) for k, row in enumerate(drawn[n % DISTINCT])
        ]
        pd.DataFrame(rows, columns=["uid", "scene", "damage", "pre_polygon"]).to_parquet(root / "buildings.parquet")
        store, split = Store(root), facts[["scene"]].assign(split="test")
        predictions = {name: lambda n=n: np.load(files[n % DISTINCT]) for n, name in enumerate(names)}
        probabilities = {
            name: lambda n=n: read_bands(root / f"shares{n % DISTINCT}.tif") for n, name in enumerate(names)
        }
        peak, params, started = Peak(), ReportingParams(), time.perf_counter()
        counts = count_scenes(predictions, store, facts, split, "test")
        matches = match_scenes(predictions, probabilities, counts, pq.ParquetFile(root / "buildings.parquet"), "centre")
        predicted = nodes.count_predicted_probabilities(probabilities, store, counts, RUN)
        metrics = nodes.score_predictions(counts, matches, predicted, RUN, params)
        shown = predictions, probabilities, store
        figures = dict(zip(CHARTS, nodes.plot_confusion(metrics), strict=False))
        figures |= dict(zip(CALIBRATION, nodes.plot_probabilities(predicted), strict=True))
        figures["scored_classes"] = nodes.plot_scored_classes(metrics)
        figures["training_curves"] = draw_curves(HISTORY)
        figures["class_histogram"] = draw_class_histogram(OF_TRAINING["class_counts"])
        saved: dict[str, Any] = {name: save(root / f"{name}.svg", figure) for name, figure in figures.items()}
        saved["panels"] = save(root / "panels.png", nodes.plot_panels(counts, *shown, metrics, params))
        saved["worst_buildings"] = save(root / "buildings.png", nodes.plot_buildings(matches, *shown, params))
        page = nodes.write_report(metrics=metrics, counts=counts, params=params, **OF_TRAINING, **saved)
        return peak.stop(), len(page) / 2**20, time.perf_counter() - started


def main(few: int, many: int) -> None:
    peaks = []
    for scenes in (few, many):
        with multiprocessing.get_context("forkserver").Pool(1) as fresh:
            peak, page, seconds = fresh.apply(measure, (scenes,))
        peaks.append(peak)
        print(f"{scenes:4d} scenes  peak {peak:.0f} MiB  page {page:.1f} MiB  {seconds:.1f} s")
    print(f"growth {100 * (peaks[1] / peaks[0] - 1):.1f} %  (target: below 15 %)")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3] or (40, 400)))
