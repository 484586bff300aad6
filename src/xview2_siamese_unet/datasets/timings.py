"""How long each node took when it last ran, for an experiment."""

from __future__ import annotations

import json
from threading import Lock
from typing import Any, Final

from kedro_datasets._typing import JSONPreview

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.datasets.one_file import OneFile

Timings = dict[str, dict[str, Any]]
"""Name of a node → `pipeline`, `seconds` and `ended` (UTC)."""
_LOCK: Final = Lock()
"""Nodes may end at the same time in the threads of one runner."""


class TimingsDataset(OneFile[Timings, Timings]):
    """A JSON file to which saving adds, and replaces a node that has run before. Without one, loading gives nothing."""

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
