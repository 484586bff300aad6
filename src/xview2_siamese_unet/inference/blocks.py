"""The predicted blocks of an assessment, as the rows of its rasters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xview2_siamese_unet.models.vote import Block, vote_blocks
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan, read_block
from xview2_siamese_unet.types import Bands, Probabilities


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
        """Yield rows, columns and codes as one band, by weights with one class a building."""
        plain = ((rows, columns, codes) for rows, columns, codes, _ in self)
        for rows, columns, codes in plain if weights is None else vote_blocks(self, weights):
            yield rows, columns, codes[None]

    def shares(self) -> Iterator[tuple[slice, slice, Probabilities]]:
        """Yield rows, columns and probabilities."""
        return ((rows, columns, shares) for rows, columns, _, shares in self)
