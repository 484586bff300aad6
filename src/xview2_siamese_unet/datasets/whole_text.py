"""A text file that is there as a whole or not at all."""

from __future__ import annotations

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.datasets.one_file import OneFile


class WholeTextDataset(OneFile[str, str]):
    """UTF-8 text, written beside and renamed."""

    def save(self, data: str) -> None:
        """Write the text."""
        write_atomically(self._path, data)

    def load(self) -> str:
        """Return the text."""
        return self._path.read_bytes().decode()  # line ends as they are
