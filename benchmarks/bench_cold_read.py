"""Uncached training pairs: random 512² crops from the layout of the store and from two others.

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_cold_read.py [FOLDER [SCENES]]

FOLDER decides which disk or network file system is measured. Every round reads one crop from every second scene in
random order and starts with none of the files in memory. Measured are seconds and bytes read from disk.

The store requests all lines of a crop at once (`Store.prefetch`). The alternatives: the same file with the system's own
read-ahead, the same scenes in tiles of 256², and one file per scene. The store keeps lines, because a 512² crop hardly
ever starts at a tile, and 11,034 files would have to be opened one by one.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.raster.store import CHANNELS, RECORD, Store

SIDE, CROP, TILE, ROUNDS = 1024, 512, 256, 5
TILES, TILE_BYTES = SIDE // TILE, TILE**2 * CHANNELS
Pixels = npt.NDArray[np.uint8]
Read = Callable[[int, int, int], Pixels]


def append(path: Path, pixels: Pixels) -> None:
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(pixels))


def write_lines(folder: Path, pixels: Pixels) -> None:
    """Write one file as data_processing does: scene after scene, line after line."""
    manifest = folder / "manifest.json"
    scenes = json.loads(manifest.read_text())["scenes"] if manifest.exists() else []
    append(folder / "pixels.u8", pixels)
    append(folder / "records.bin", np.zeros(RECORD.itemsize, np.uint8))
    manifest.write_text(json.dumps({"scenes": [*scenes, str(len(scenes))], "height": SIDE, "width": SIDE}))


def write_tiles(folder: Path, pixels: Pixels) -> None:
    """Write one file, scene after scene, each in tiles of 256²."""
    append(folder / "pixels.u8", pixels.reshape(TILES, TILE, TILES, TILE, CHANNELS).swapaxes(1, 2))


def write_files(folder: Path, pixels: Pixels) -> None:
    """Write one store for each scene."""
    own = folder / str(len(list(folder.iterdir())))
    own.mkdir()
    write_lines(own, pixels)


def read_lines(store: Store, row: int, top: int, left: int, *, prefetch: bool) -> Pixels:
    if prefetch:
        store.prefetch(row, top, top + CROP)
    return np.array(store.pixels[row, top : top + CROP, left : left + CROP])


def open_lines(folder: Path, *, prefetch: bool) -> Read:
    return partial(read_lines, Store(folder), prefetch=prefetch)


def open_files(folder: Path) -> Read:
    stores = [Store(folder / str(scene)) for scene in range(len(list(folder.iterdir())))]
    return lambda scene, top, left: read_lines(stores[scene], 0, top, left, prefetch=True)


def open_tiles(folder: Path) -> Read:
    file = (folder / "pixels.u8").open("rb", buffering=0)

    def read(scene: int, top: int, left: int) -> Pixels:
        rows, columns = (range(first // TILE, -(-(first + CROP) // TILE)) for first in (top, left))
        tiles = np.empty((len(rows), TILE, len(columns), TILE, CHANNELS), np.uint8)
        for i, row in enumerate(rows):  # tiles side by side lie one after the other
            first = ((scene * TILES + row) * TILES + columns[0]) * TILE_BYTES
            line = os.pread(file.fileno(), len(columns) * TILE_BYTES, first)
            tiles[i] = np.frombuffer(line, np.uint8).reshape(-1, TILE, TILE, CHANNELS).swapaxes(0, 1)
        whole = tiles.reshape(len(rows) * TILE, len(columns) * TILE, CHANNELS)
        y, x = top - rows[0] * TILE, left - columns[0] * TILE
        return np.array(whole[y : y + CROP, x : x + CROP])

    return read


WRITERS = {"lines": write_lines, "tiles": write_tiles, "files": write_files}
WAYS: dict[str, tuple[str, Callable[[Path], Read]]] = {
    "one file by lines, as the store is read": ("lines", partial(open_lines, prefetch=True)),
    "the same, left to the system": ("lines", partial(open_lines, prefetch=False)),
    "one file, scenes in tiles of 256²": ("tiles", open_tiles),
    "a file by lines for each scene": ("files", open_files),
}


def forget(folder: Path) -> None:
    """Drop the files from the page cache; no process may have them mapped."""
    for path in folder.rglob("*.u8"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def from_disk() -> int:
    """Return the bytes that this process has read from disk so far."""
    return int(Path("/proc/self/io").read_text(encoding="utf-8").split("\nread_bytes: ")[1].split()[0])


def measure(folder: Path, opened: Callable[[Path], Read], crops: list[tuple[int, ...]]) -> tuple[float, float, int]:
    """Return seconds and bytes per crop, and a checksum."""
    forget(folder)
    read, checksum = opened(folder), 0
    before, started = from_disk(), time.perf_counter()
    for crop in crops:
        checksum += int(read(*crop)[::64, ::64].sum())
    return (time.perf_counter() - started) / len(crops), (from_disk() - before) / len(crops), checksum


def main(parent: str | None, scenes: int) -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        for name, write in WRITERS.items():
            (Path(folder) / name).mkdir()
            for seed in range(scenes):
                write(
                    Path(folder) / name, np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, CHANNELS), np.uint8)
                )
        os.sync()  # unwritten pages cannot be dropped
        results: dict[str, list[tuple[float, float, int]]] = {name: [] for name in WAYS}
        for _ in range(ROUNDS):
            order, corners = rng.permutation(np.arange(0, scenes, 2)), rng.integers(0, SIDE - CROP + 1, (scenes, 2))
            crops = [(int(scene), *corners[scene].tolist()) for scene in order]
            for name, (layout, opened) in WAYS.items():
                results[name].append(measure(Path(folder) / layout, opened, crops))
            assert len({rounds[-1][2] for rounds in results.values()}) == 1, "the layouts do not give the same pixels"
    print(f"one {CROP}² crop of {CROP**2 * CHANNELS / 1e6:.1f} MB, from no cache, median of {ROUNDS} rounds")
    for name, rounds in results.items():
        seconds, size = (statistics.median(numbers) for numbers in list(zip(*rounds, strict=True))[:2])
        print(f"  {name:42s}{1000 * seconds:7.2f} ms {1 / seconds:6.0f} crops/s {size / 1e6:7.1f} MB read")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else None, int(sys.argv[2]) if sys.argv[2:] else 60)
