"""Both dates as pictures small enough for a page."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.window_pair import Pair

ByteArray = npt.NDArray[np.uint8]
_STRIP: Final = 128


def coarser(grid: Grid, side: int) -> Grid:
    """Return the grid with pixels so large that its longer side has at most `side` of them."""
    factor = max(1.0, max(grid.width, grid.height) / side)
    return Grid(
        crs=grid.crs,
        left=grid.left,
        top=grid.top,
        pixel=grid.pixel * factor,
        width=max(1, round(grid.width / factor)),
        height=max(1, round(grid.height / factor)),
    )


def previews(pair: Pair, side: int) -> tuple[ByteArray, ByteArray]:
    """Return both dates (h, w, 3) with at most `side` pixels along the longer side."""
    grid = coarser(pair.grid, side)
    factor = grid.pixel / pair.grid.pixel
    field = None if pair.field is None else pair.field.coarser(factor)
    small = replace(pair, grid=grid, shift=(pair.shift[0] / factor, pair.shift[1] / factor), field=field)
    pre, post = (np.zeros((grid.height, grid.width, 3), np.uint8) for _ in range(2))
    with small.open() as reader:
        for top in range(0, grid.height, _STRIP):
            rows = slice(top, min(top + _STRIP, grid.height))
            pre[rows], _ = reader.pre.read_bytes(top, 0, rows.stop - top, grid.width)
            post[rows], _ = reader.post.read_bytes(top, 0, rows.stop - top, grid.width)
    return pre, post
