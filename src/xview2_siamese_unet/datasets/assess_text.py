"""A text file that is there as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from xview2_siamese_unet.atomic import write_atomically


class WholeTextDataset(AbstractDataset[str, str]):
    """UTF-8 text, written beside and renamed.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: str) -> None:
        """Write the text."""
        write_atomically(self._path, data)

    def load(self) -> str:
        """Return the text."""
        return self._path.read_text(encoding="utf-8")

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
