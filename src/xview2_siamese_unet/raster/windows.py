"""Overlapping windows over a grid, the blending of predictions, finished blocks on disk.

Windows of `size` pixels lie `size − overlap` apart. The first begins and the last ends at the edge of the grid, as a
scene does in training and scoring; a grid of up to `size` pixels is a single window. Where two windows meet, a quarter
of the overlap on each side is context only, because a net cannot see beyond its window; over the half between, they
blend linearly. A net whose field of view is not larger than that quarter predicts the same at every pixel, whatever the
windows. Arrays of predictions are (rows, columns, channels).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.errors import StorageError
from xview2_siamese_unet.types import AnyArray, Float32Array, Overlap, Weights, WindowPrediction

_MULTIPLE: Final = 32  # of the sides of a window: an encoder halves five times


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along the rows or columns of a grid; lengths in pixels, overlap divisible by 4."""

    length: int
    size: int
    overlap: int

    @property
    def step(self) -> int:
        """Pixels from one window to the next."""
        return self.size - self.overlap

    @property
    def margin(self) -> int:
        """Pixels of unused context at each side of a window that has a neighbour."""
        return self.overlap // 4

    @property
    def ramp(self) -> int:
        """Pixels over which neighbours blend."""
        return self.overlap - 2 * self.margin

    @property
    def count(self) -> int:
        """Number of windows."""
        return 1 + max(0, -(-(self.length - self.size) // self.step))

    def extent(self, k: int) -> int:
        """Return the length of window k: `size`, or less if the grid ends inside it."""
        return min(self.size, -(-(self.length - k * self.step) // _MULTIPLE) * _MULTIPLE)

    def block(self, k: int) -> slice:
        """Return the pixels of the grid that are finished once window k is known."""
        first = k * self.step + self.margin if k else 0
        return slice(first, (k + 1) * self.step + self.margin if k + 1 < self.count else self.length)

    def used(self, k: int) -> slice:
        """Return the used pixels of window k: of its block, and where the next one blends in."""
        block, corner = self.block(k), k * self.step
        return slice(block.start - corner, block.stop - corner + self.ramp * (k + 1 < self.count))

    def weights(self, k: int) -> Weights:
        """Return the weights of the used pixels of window k; those of neighbours add up to 1."""
        used = self.used(k)
        weights = np.ones(used.stop - used.start, np.float32)
        up = (np.arange(self.ramp, dtype=np.float32) + 0.5) / max(self.ramp, 1)
        if k:
            weights[: self.ramp] = up
        if k + 1 < self.count:
            weights[len(weights) - self.ramp :] = up[::-1]
        return weights


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Windows over a grid of `height` × `width` pixels; `i`, `j` count their rows and columns."""

    height: int
    width: int
    size: int
    overlap: int

    @property
    def vertical(self) -> Axis:
        """Windows along the rows of the grid."""
        return Axis(self.height, self.size, self.overlap)

    @property
    def horizontal(self) -> Axis:
        """Windows along the columns of the grid."""
        return Axis(self.width, self.size, self.overlap)

    @property
    def rows(self) -> int:
        """Number of rows of windows."""
        return self.vertical.count

    @property
    def columns(self) -> int:
        """Number of columns of windows."""
        return self.horizontal.count

    def corner(self, i: int, j: int) -> tuple[int, int]:
        """Return the first row and column of a window."""
        return i * self.vertical.step, j * self.horizontal.step

    def extent(self, i: int, j: int) -> tuple[int, int]:
        """Return rows and columns of a window; the last may reach 31 pixels beyond the grid."""
        return self.vertical.extent(i), self.horizontal.extent(j)

    def block(self, i: int, j: int) -> tuple[slice, slice]:
        """Return the rows and columns of the grid that window (i, j) finishes."""
        return self.vertical.block(i), self.horizontal.block(j)

    def used(self, i: int, j: int) -> tuple[slice, slice]:
        """Return the rows and columns of window (i, j) that are used."""
        return self.vertical.used(i), self.horizontal.used(j)


class Stitched(NamedTuple):
    """The parts that one more window finishes; `None` without data.

    Attributes:
        block: values.
        below: weighted part of the first rows of the block underneath.
    """

    block: WindowPrediction | None
    below: Overlap | None


def stitch_row(
    plan: WindowPlan, i: int, predictions: Iterable[WindowPrediction | None], above: Callable[[int], Overlap | None]
) -> Iterator[Stitched]:
    """Yield the parts that each window of row i finishes; memory holds two windows.

    Args:
        plan: the windows.
        i: row.
        predictions: of each window from left to right; `None` without data.
        above: column → `below` of the row before.
    """
    left = None
    for j, prediction in enumerate(predictions):
        rows, columns = (block.stop - block.start for block in plan.block(i, j))
        zone = None
        if prediction is not None:
            weights = plan.vertical.weights(i)[:, None] * plan.horizontal.weights(j)[None, :]
            zone = prediction[plan.used(i, j)] * weights[..., None]
        upper, lower = _split(zone, rows)
        left_upper, left_lower = _split(left, rows)
        yield Stitched(
            _add((rows, columns), upper, left_upper, above(j)),
            _add((plan.vertical.ramp, columns), lower, left_lower),
        )
        left = None if zone is None else zone[:, columns:]


def _split(zone: Float32Array | None, rows: int) -> tuple[Float32Array | None, Float32Array | None]:
    return (None, None) if zone is None else (zone[:rows], zone[rows:])


def _add(shape: tuple[int, int], *parts: Float32Array | None) -> Float32Array | None:
    """Sum arrays that share their upper left corner, cut to `shape`, in a fixed order."""
    known = [part for part in parts if part is not None and part.size]
    if not known:
        return None
    total = np.zeros((*shape, known[0].shape[2]), np.float32)
    for part in known:
        rows, columns = min(part.shape[0], shape[0]), min(part.shape[1], shape[1])
        total[:rows, :columns] += part[:rows, :columns]
    return total


@dataclass(frozen=True, slots=True)
class BlockStore:
    """Finished blocks in `folder`: one file a row of windows, from which a killed run resumes."""

    folder: Path

    def has_row(self, i: int) -> bool:
        """Return whether row i is finished."""
        return self._path(i).exists()

    def write_row(self, i: int, columns: Iterable[dict[str, AnyArray | None]]) -> None:
        """Write the arrays of each column of row i by kind; `None` is not written."""
        with (
            whole_file(self._path(i)) as part,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        ):
            for j, kinds in enumerate(columns):
                for kind, array in kinds.items():
                    if array is not None:
                        buffer = io.BytesIO()
                        np.save(buffer, array, allow_pickle=False)
                        file.writestr(f"{kind}_{j}.npy", buffer.getbuffer())

    def read_row(self, i: int) -> zipfile.ZipFile:
        """Open row i for `read_block`; −1, before the first, is empty.

        Raises:
            StorageError: the row is missing.
        """
        if i < 0:
            return zipfile.ZipFile(io.BytesIO(), "w")
        try:
            return zipfile.ZipFile(self._path(i))
        except FileNotFoundError as error:
            raise StorageError(
                f"{self._path(i)} is missing, though this run has written it.",
                hint="Repeat the command, which writes missing rows, and make sure that nothing clears the folder.",
            ) from error

    def _path(self, i: int) -> Path:
        return self.folder / f"row_{i:06d}.zip"


def read_block(row: zipfile.ZipFile, kind: str, j: int) -> AnyArray | None:
    """Return an array of column j of an open row, `None` if it was not written."""
    name = f"{kind}_{j}.npy"
    if name not in row.NameToInfo:
        return None
    array: AnyArray = np.load(io.BytesIO(row.read(name)), allow_pickle=False)
    return array
