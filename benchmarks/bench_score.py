"""Official score of two folders, against four comparisons per class as in the official script.

    uv run python benchmarks/bench_score.py [SCENES]

Both read the same generated files, alternating, in one process each. The plain version decodes with Pillow, checks the
values with `np.unique` and compares four times per class, as the official script does. Target: 4 ×.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from xview2_siamese_unet.metrics.challenge import OFFICIAL_SIDE, count_folders
from xview2_siamese_unet.metrics.summary import summarise_folders

ROUNDS = 3


def write_scenes(root: Path, scenes: int) -> tuple[Path, Path]:
    """Write both folders: about a hundred buildings per scene, predicted with a small offset."""
    rng = np.random.default_rng(0)
    folders = root / "predictions", root / "targets"
    for folder in folders:
        folder.mkdir()
    for number in range(scenes):
        corners = rng.integers(0, OFFICIAL_SIDE - 60, (100, 2))
        sizes, codes = rng.integers(8, 50, (100, 2)), rng.integers(1, 5, 100)
        for folder, end, shift in zip(folders, ("prediction", "target"), (2, 0), strict=True):
            mask = np.zeros((OFFICIAL_SIDE, OFFICIAL_SIDE), np.uint8)
            for (y, x), (h, w), code in zip(
                corners + shift, sizes, (codes + shift * rng.integers(0, 2)) % 5, strict=True
            ):
                mask[y : y + h, x : x + w] = code
            Image.fromarray(mask).save(folder / f"test_damage_{number:05d}_{end}.png")
            Image.fromarray((mask > 0).astype(np.uint8)).save(folder / f"test_localization_{number:05d}_{end}.png")
    return folders


def load(path: Path) -> np.ndarray:
    image = np.array(Image.open(path))
    assert image.dtype == np.uint8
    assert set(np.unique(image)) <= {0, 1, 2, 3, 4}
    assert image.shape == (OFFICIAL_SIDE, OFFICIAL_SIDE)
    return image


def compare(predicted: np.ndarray, truth: np.ndarray, code: int) -> list[int]:
    return [
        int(np.logical_and(predicted == code, truth == code).sum()),
        int(np.logical_and(predicted != code, truth == code).sum()),
        int(np.logical_and(predicted == code, truth != code).sum()),
    ]


def plain(predictions: Path, targets: Path) -> dict[str, float]:
    rows = np.zeros((5, 3), np.int64)
    for path in sorted(targets.glob("*_localization_*.png")):
        part, _, number, _ = path.name.split("_")
        lp, dp = (load(predictions / f"{part}_{kind}_{number}_prediction.png") for kind in ("localization", "damage"))
        lt, dt = (load(targets / f"{part}_{kind}_{number}_target.png") for kind in ("localization", "damage"))
        lp, lt, scored = lp > 0, lt > 0, dt > 0
        dp = (dp * lp)[scored]
        dt = dt[scored]
        rows += [compare(lp, lt, 1), *(compare(dp, dt, code) for code in range(1, 5))]
    f1 = [0.0 if tp == 0 else 2 * tp / (2 * tp + fn + fp) for tp, fn, fp in rows.tolist()]
    damage = 4 / sum(1 / (value + 1e-6) for value in f1[1:])
    keys = ("score", "damage_f1", "localization_f1", "damage_f1_no_damage", "damage_f1_minor_damage")
    keys += ("damage_f1_major_damage", "damage_f1_destroyed")
    return dict(zip(keys, [0.3 * f1[0] + 0.7 * damage, damage, *f1], strict=True))


def ours(predictions: Path, targets: Path) -> dict[str, float]:
    return summarise_folders(count_folders(predictions, targets, side=OFFICIAL_SIDE))


def timed(
    function: Callable[[Path, Path], dict[str, float]], folders: tuple[Path, Path]
) -> tuple[float, dict[str, float]]:
    started = time.perf_counter()
    numbers = function(*folders)
    return time.perf_counter() - started, numbers


def main(scenes: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        folders = write_scenes(Path(root), scenes)
        rounds = [(timed(plain, folders), timed(ours, folders)) for _ in range(ROUNDS)]
    (_, there), (_, here) = rounds[0]
    difference = max(abs(there[key] - here[key]) for key in there)
    assert difference <= 1e-12, difference
    slow, fast = (statistics.median(each[side][0] for each in rounds) for side in (0, 1))
    print(f"official score of {scenes} scenes of {OFFICIAL_SIDE}², median of {ROUNDS} alternating rounds")
    print(f"  four comparisons a class  {slow:.2f} s  ({1000 * slow / scenes:.1f} ms a scene)")
    print(f"  this project              {fast:.2f} s  ({1000 * fast / scenes:.1f} ms a scene)")
    print(f"  ratio                     {slow / fast:.1f}  (target: at least 4)")
    print(f"  largest difference        {difference:.1e}  (allowed: 1e-12)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
