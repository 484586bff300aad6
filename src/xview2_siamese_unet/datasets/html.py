"""A page that Kedro-Viz shows as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import HTMLPreview

from xview2_siamese_unet.atomic import write_atomically


class HtmlDataset(AbstractDataset[str, str]):
    """One self-contained HTML file, written whole or not at all.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: str) -> None:
        """Write the page."""
        write_atomically(self._path, data)

    def load(self) -> str:
        """Return the page."""
        return self._path.read_text(encoding="utf-8")

    def preview(self) -> HTMLPreview:
        """Return the page."""
        return HTMLPreview(self.load())

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
