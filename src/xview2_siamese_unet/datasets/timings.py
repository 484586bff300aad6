"""How long each node took when it last ran, for an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import Any, Final

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from xview2_siamese_unet.atomic import write_atomically

Timings = dict[str, dict[str, Any]]
"""Name of a node → `pipeline`, `seconds` and `ended` (UTC)."""
_LOCK: Final = Lock()
"""Nodes may end at the same time in the threads of one runner."""


class TimingsDataset(AbstractDataset[Timings, Timings]):
    """A JSON file to which saving adds; a node that has run before is replaced. Without a file, loading gives nothing.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: Timings) -> None:
        """Add timings to the file."""
        with _LOCK:
            merged = self.load() | data
            write_atomically(self._path, json.dumps(merged, indent=2))

    def load(self) -> Timings:
        """Return the timings of all nodes that have run."""
        timings: Timings = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        return timings

    def preview(self) -> JSONPreview:
        """Return the timings."""
        return JSONPreview(json.dumps(self.load(), indent=2))

    def _exists(self) -> bool:
        return True  # loading gives nothing where no node has run

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
