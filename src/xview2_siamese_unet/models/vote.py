"""One damage class for each building: pixels of a connected component vote, over the blocks of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array, csgraph

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan, read_block
from xview2_siamese_unet.types import Bands, Components, Int64Array, Mask, PartPairs, Probabilities, ProbabilitySums


class Block(NamedTuple):
    """Part of a grid: damage codes and probabilities."""

    rows: slice
    columns: slice
    codes: Mask
    shares: Probabilities


def connected_components(codes: Mask) -> tuple[Components, int]:
    """Return the number of the building at each pixel, 0 for background, and their count."""
    numbers = np.empty(codes.shape, np.int32)
    return numbers, int(ndimage.label((codes != Damage.BACKGROUND) & (codes != NO_DATA), output=numbers))


def sum_probabilities(numbers: Components, count: int, shares: Probabilities) -> ProbabilitySums:
    """Return the summed probabilities of damage classes in each building.

    Args:
        numbers: of buildings, as `connected_components` returns them.
        count: of buildings.
        shares: probabilities of background and the four classes.
    """
    inside = numbers > 0
    own = numbers[inside] - 1
    return np.stack(
        [np.bincount(own, share[inside], minlength=count) for share in shares[1:]], axis=1, dtype=np.float64
    )


def vote(codes: Mask, shares: Probabilities, weights: Sequence[float]) -> Mask:
    """Return codes with one class for each connected component.

    Args:
        codes: damage codes, 255 is no data.
        shares: probabilities of background and the four classes.
        weights: factors of the summed probabilities of the four classes.
    """
    height, width = codes.shape
    ((_, _, voted),) = vote_blocks([Block(slice(0, height), slice(0, width), codes, shares)], weights)
    return voted


def vote_blocks(blocks: Iterable[Block], weights: Sequence[float]) -> Iterator[tuple[slice, slice, Mask]]:
    """Yield rows, columns and codes of each block after a `vote` of whole buildings.

    Memory grows with the number of buildings, not with the grid.

    Args:
        blocks: of one grid, row by row, without blocks that hold no data; read twice.
        weights: as for `vote`.
    """
    sums, pairs = _count_votes(blocks)
    edges = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(sums), len(sums)))
    count, owner = csgraph.connected_components(edges, directed=False)
    totals = np.zeros((count, len(SCORED)))
    np.add.at(totals, owner, sums)
    voted_codes = (totals * weights).argmax(axis=1) + int(Damage.NO_DAMAGE)
    first = 0
    for rows, columns, codes, _ in blocks:
        numbers, count_here = connected_components(codes)
        own = np.concatenate([[Damage.BACKGROUND], voted_codes[owner[first : first + count_here]]]).astype(np.uint8)
        yield rows, columns, np.where(numbers > 0, own[numbers], codes)
        first += count_here


def _count_votes(blocks: Iterable[Block]) -> tuple[ProbabilitySums, PartPairs]:
    """Return summed probabilities of parts of buildings, and pairs of parts that touch."""
    sums, pairs, parts = [np.empty((0, len(SCORED)))], [np.empty((0, 2), np.int64)], 0
    edges: dict[tuple[str, int, int], Int64Array] = {}
    for rows, columns, codes, shares in blocks:
        numbers, count = connected_components(codes)
        sums.append(sum_probabilities(numbers, count, shares))
        named = np.where(numbers > 0, numbers + np.int64(parts - 1), -1)
        for side, near in (("above", named[0]), ("left", named[:, 0])):
            far = edges.pop((side, rows.start, columns.start), None)
            if far is not None:
                both = (far >= 0) & (near >= 0)
                pairs.append(np.unique(np.stack([far[both], near[both]], axis=1), axis=0))
        edges["above", rows.stop, columns.start] = named[-1]
        edges["left", rows.start, columns.stop] = named[:, -1]
        parts += count
    return np.concatenate(sums), np.concatenate(pairs)


@dataclass(frozen=True, slots=True)
class FinishedBlocks:
    """The blocks that hold data, row by row; they can be read more than once.

    Raises:
        StorageError: a row is not in the store.
    """

    plan: WindowPlan
    store: BlockStore

    def __iter__(self) -> Iterator[Block]:
        """Read one block at a time."""
        for i in range(self.plan.rows):
            with self.store.read_row(i) as row:
                for j in range(self.plan.columns):
                    if (block := read_block(row, "block", j)) is not None:
                        yield Block(*self.plan.block(i, j), block[-1], block[:-1])

    def codes(self, weights: Sequence[float] | None = None) -> Iterator[tuple[slice, slice, Bands]]:
        """Return rows, columns and codes as one band of each block; with weights, one class for each building."""
        plain = ((rows, columns, codes) for rows, columns, codes, _ in self)
        blocks = plain if weights is None else vote_blocks(self, weights)
        return ((rows, columns, codes[None]) for rows, columns, codes in blocks)

    def shares(self) -> Iterator[tuple[slice, slice, Probabilities]]:
        """Return rows, columns and probabilities of each block."""
        return ((rows, columns, shares) for rows, columns, _, shares in self)
