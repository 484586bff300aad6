"""Features of each building: means of feature maps under its outline and in a box around it, streamed to disk.

The grid is read in windows with a rim of context; a building belongs to the window that holds a point inside it, and
windows without buildings are not read. A row per building goes to a file as each window is finished, so that memory
does not grow with the number of buildings or the size of the images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import geopandas as gpd
import numpy as np
import shapely
from scipy import sparse

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.inference.record import describe_pair
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.rasterize import pixels_inside
from xview2_siamese_unet.raster.reader import Pair, Patch
from xview2_siamese_unet.types import BoolArray, Float32Array, Image, Int64Array, Valid

CORE: Final = 896
"""Pixels of the grid along a side of a window, without its rim."""
RIM: Final = 64
"""Pixels around a window that only give context; a box around a building lies inside."""
BOX: Final = 96
"""Pixels along a side of the box around a building."""
PATCH: Final = 7
"""Pixels along a side of the patches of random convolutions."""
_PATCH_WINDOWS: Final = 128
_PATCHES: Final = 80  # of each of these windows
_PATCH_SIDE: Final = 64
# Chosen on the scenes of one fire with benchmarks/bench_adaptation.py; weights from 0.25 to 1 score about the same.
_BOX_WEIGHT: Final = 0.5
_DIFFERENCE_WEIGHT: Final = 0.15
_VERSION: Final = 3
Polygons = Any


class Encoder(Protocol):
    """Image → feature maps.

    Attributes:
        name: of the source.
        strides: of each map: pixels of the image for one of the map.
        channels: of each map.
        digest: of everything that the features depend on.
    """

    name: str
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    digest: str

    def __call__(self, image: Image) -> list[Float32Array]:
        """Return the maps (channels, h / stride, w / stride) of an image whose sides are multiples of 32."""
        ...


class Block(NamedTuple):
    """Columns of features that one classifier uses.

    Attributes:
        name: encoder, level and region, such as `package 3 outline`.
        weight: of its classifier in the average.
        start: first column.
        stop: end of the columns.
    """

    name: str
    weight: float
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Embedding:
    """Features of n buildings on disk.

    Attributes:
        path: of the features (n, d) in half precision; NaN for a building that is not visible.
        position: row of the file of each building.
        blocks: of the columns.
        digest: of everything that the features depend on.
        encoders: name of each source → digest of its encoder.
    """

    path: Path
    position: Int64Array
    blocks: tuple[Block, ...]
    digest: str
    encoders: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.position)

    def rows(self, buildings: Int64Array) -> Float32Array:
        """Return the features of some buildings, by number."""
        features: Float32Array = np.load(self.path, mmap_mode="r", allow_pickle=False)[self.position[buildings]].astype(
            np.float32
        )
        return features

    def chunks(self, size: int = 4096) -> Iterator[tuple[Int64Array, Float32Array]]:
        """Yield numbers of buildings and their features, in the order of the file."""
        order = np.argsort(self.position)
        for first in range(0, len(order), size):
            numbers = order[first : first + size]
            yield numbers, self.rows(numbers)

    def sample(self, size: int = 20_000) -> Float32Array:
        """Return the features of at most `size` visible buildings, spread over the file."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(size, len(self))).astype(np.int64))
        features: Float32Array = np.load(self.path, mmap_mode="r", allow_pickle=False)[rows].astype(np.float32)
        return features[np.isfinite(features[:, 0])]


def blocks_of(encoders: Sequence[Encoder], *, pair: bool) -> tuple[Block, ...]:
    """Return the blocks of features; with two images also of their difference under the outline.

    The weights of an encoder add up to the same sum whatever its number of levels, so that all sources count equally.
    """
    regions = {"outline": 1.0, "box": _BOX_WEIGHT} | ({"difference": _DIFFERENCE_WEIGHT} if pair else {})
    blocks, start = [], 0
    for encoder in encoders:
        for region, weight in regions.items():
            for level, channels in enumerate(encoder.channels):
                name = f"{encoder.name} {level} {region}"
                blocks.append(Block(name, weight / len(encoder.channels), start, start + channels))
                start += channels
    return tuple(blocks)


def embed(
    outlines: gpd.GeoSeries, pair: Pair, encoders: Sequence[Encoder], folder: Path, *, post_only: bool = False
) -> Embedding:
    """Return the features of all buildings, reused from `folder` if possible.

    Args:
        outlines: polygons in the coordinate reference system of the grid, empty ones allowed.
        pair: both images.
        encoders: sources of features.
        folder: for the files, which are named by digest.
        post_only: whether to ignore the pre-disaster image.
    """
    owner, order = _windows_of(outlines, pair.grid)
    blocks = blocks_of(encoders, pair=not post_only)
    digest = _digest(outlines, pair, encoders, post_only=post_only)
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    path = folder / f"{digest[:16]}.npy"
    if not path.is_file():
        with whole_file(path) as part:
            rows = _rows(outlines.to_numpy(), owner, order, pair, encoders, post_only=post_only)
            _write(part, (len(order), blocks[-1].stop), rows)
    return Embedding(path, position, blocks, digest, {each.name: each.digest for each in encoders})


def _write(path: Path, shape: tuple[int, int], parts: Iterable[tuple[int, Float32Array]]) -> None:
    """Write rows as they come; the file is opened for each part, because mapped pages count as memory."""
    file: Any = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    for first, rows in parts:
        if file is None:
            file = np.load(path, mmap_mode="r+", allow_pickle=False)
        limit = np.finfo(np.float16).max
        file[first : first + len(rows)] = rows.clip(-limit, limit)
        file.flush()
        file = None


def _windows_of(outlines: gpd.GeoSeries, grid: Grid) -> tuple[Int64Array, Int64Array]:
    """Return the number of the window of each building, −1 outside of the grid, and the buildings sorted by it."""
    points = shapely.get_coordinates(shapely.point_on_surface(outlines.fillna(shapely.Polygon()).to_numpy()))
    owner = np.full(len(outlines), -1, np.int64)
    known = ~(outlines.isna() | outlines.is_empty).to_numpy()
    column, row = ((points - [grid.left, grid.top]) / [grid.pixel, -grid.pixel]).T
    inside = (column >= 0) & (row >= 0) & (column < grid.width) & (row < grid.height)
    across = -(-grid.width // CORE)
    numbers = (row // CORE) * across + column // CORE
    owner[np.flatnonzero(known)] = np.where(inside, numbers, -1)
    return owner, np.argsort(owner, kind="stable")


def _rows(
    polygons: Polygons,
    owner: Int64Array,
    order: Int64Array,
    pair: Pair,
    encoders: Sequence[Encoder],
    *,
    post_only: bool,
) -> Iterator[tuple[int, Float32Array]]:
    """Yield the first row and the features of the buildings of each window."""
    grid, columns = pair.grid, blocks_of(encoders, pair=not post_only)[-1].stop
    numbers, firsts, counts = np.unique(owner[order], return_index=True, return_counts=True)
    across = -(-grid.width // CORE)
    with pair.open() as reader:
        for number, first, count in track("windows embedded", len(numbers), zip(numbers, firsts, counts, strict=True)):
            if number < 0:
                yield int(first), np.full((count, columns), np.nan, np.float32)
                continue
            top, left = int(number) // across * CORE - RIM, int(number) % across * CORE - RIM
            sides = ((grid.height, top), (grid.width, left))
            height, width = (_multiple_of_32(min(CORE, side - start - RIM) + 2 * RIM) for side, start in sides)
            pixels = _polygons_in_pixels(polygons[order[first : first + count]], grid, top, left)
            patch = reader.read(top, left, height, width)
            yield int(first), _pool_all(pixels, patch, encoders, post_only=post_only)


def _polygons_in_pixels(polygons: Polygons, grid: Grid, top: int, left: int) -> Polygons:
    return shapely.transform(polygons, lambda xy: _in_pixels(xy, grid, top, left))


def _multiple_of_32(length: int) -> int:
    """Return a length rounded up."""
    return -(-length // 32) * 32


def _in_pixels(xy: Any, grid: Grid, top: int, left: int) -> Any:  # noqa: ANN401
    return (xy - [grid.left, grid.top]) / [grid.pixel, -grid.pixel] - [left, top]


def _pool_all(polygons: Polygons, patch: Patch, encoders: Sequence[Encoder], *, post_only: bool) -> Float32Array:
    """Return the features of the buildings of one window, in the order of `blocks_of`."""
    shape = (patch.valid.shape[0], patch.valid.shape[1])
    outline = _Region.of(polygons, shape, patch.valid)
    points = shapely.get_coordinates(shapely.centroid(polygons))
    box = _Region.of(shapely.box(*(points - BOX / 2).T, *(points + BOX / 2).T), shape, patch.valid)
    parts = []
    for encoder in encoders:
        post = encoder(patch.post)
        strides = encoder.strides
        under = [outline.mean(level, stride) for level, stride in zip(post, strides, strict=True)]
        parts += [*under, *(box.mean(level, stride) for level, stride in zip(post, strides, strict=True))]
        if not post_only:
            del post  # tens of megabytes, while the other image is encoded
            pre = encoder(patch.pre)
            parts += [
                after - outline.mean(level, stride) for after, level, stride in zip(under, pre, strides, strict=True)
            ]
    features = np.concatenate(parts, axis=1)
    features[~outline.visible] = np.nan
    return features


class _Region(NamedTuple):
    """Pixels of n regions of one window.

    Attributes:
        owner: number of the region of each pixel.
        pixel: number of the pixel in the flattened window.
        shape: of the window.
        visible: whether a region has any pixel with data.
    """

    owner: Int64Array
    pixel: Int64Array
    shape: tuple[int, int]
    visible: BoolArray

    @classmethod
    def of(cls, polygons: Polygons, shape: tuple[int, int], valid: Valid) -> _Region:
        """Return the pixels with data inside polygons; one without any pixel centre gets the pixel at its middle."""
        owner, pixel = pixels_inside(polygons, shape)
        small = np.setdiff1d(np.arange(len(polygons)), owner)
        column, row = np.floor(shapely.get_coordinates(shapely.point_on_surface(polygons[small]))).astype(np.int64).T
        row, column = row.clip(0, shape[0] - 1), column.clip(0, shape[1] - 1)
        owner, pixel = np.concatenate([owner, small]), np.concatenate([pixel, row * shape[1] + column])
        has_data = valid.reshape(-1)[pixel]
        visible = np.bincount(owner[has_data], minlength=len(polygons)) > 0
        return cls(owner[has_data], pixel[has_data], shape, visible)

    def mean(self, level: Float32Array, stride: int) -> Float32Array:
        """Return the mean of a map (c, h / stride, w / stride) over each region (n, c)."""
        row, column = np.divmod(self.pixel, self.shape[1])
        channels, height, width = level.shape
        cell = row // stride * width + column // stride
        size = (len(self.visible), height * width)
        pixels = sparse.coo_array((np.ones(len(cell), np.float32), (self.owner, cell)), size).tocsr()
        sums: Float32Array = pixels @ level.reshape(channels, -1).T
        counts: Float32Array = np.bincount(self.owner, minlength=size[0]).clip(1).astype(np.float32)
        return sums / counts[:, None]


def sample_patches(outlines: gpd.GeoSeries, pair: Pair, seed: int = 0) -> Float32Array:
    """Return patches of the post-disaster image near buildings spread over the map, in random order.

    Returns:
        (n, PATCH, PATCH, 3) grey values.
    """
    grid, rng = pair.grid, np.random.default_rng(seed)
    owner, order = _windows_of(outlines, grid)
    order = order[owner[order] >= 0]
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(_PATCH_WINDOWS, len(order))).astype(int))]
    points = shapely.get_coordinates(shapely.point_on_surface(outlines.to_numpy()[chosen]))
    corners = np.floor(_in_pixels(points, grid, _PATCH_SIDE // 2, _PATCH_SIDE // 2)).astype(int)
    patches: list[Image] = []
    with pair.open() as reader:
        for left, top in corners:
            image, valid = reader.post.read_bytes(int(top), int(left), _PATCH_SIDE, _PATCH_SIDE)
            for row, column in rng.integers(0, _PATCH_SIDE - PATCH + 1, (_PATCHES, 2)):
                inner = slice(row, row + PATCH), slice(column, column + PATCH)
                if valid[inner].all():
                    patches.append(image[inner])
    return rng.permutation(np.array(patches, np.float32).reshape(-1, PATCH, PATCH, 3))


def _digest(outlines: gpd.GeoSeries, pair: Pair, encoders: Sequence[Encoder], *, post_only: bool) -> str:
    """Return a digest of images, grid, outlines and encoders."""
    digest = hashlib.sha256(json.dumps([_VERSION, describe_pair(pair), post_only], sort_keys=True).encode())
    digest.update(json.dumps([[each.name, each.digest] for each in encoders]).encode())
    for outline in shapely.to_wkb(outlines.fillna(shapely.Polygon()).to_numpy()):
        digest.update(outline)
    return digest.hexdigest()
