"""The folder of one assessment: what may be written there, and what says that it is finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from kedro.io import AbstractDataset

from xview2_siamese_unet.atomic import remove_debris, write_atomically

RECORD: Final = "run.json"
_WORK: Final = ".work"


class AssessmentDataset(AbstractDataset[dict[str, Any], Path]):
    """Loading gives the folder; saving writes `run.json`, which makes an assessment finished, and clears its work.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """Return the folder, which need not exist yet."""
        return self._path

    def save(self, data: dict[str, Any]) -> None:
        """Write the record, then remove what only a run that is stopped would need."""
        write_atomically(self._path / RECORD, json.dumps(data, indent=2, allow_nan=False))
        shutil.rmtree(self._path / _WORK, ignore_errors=True)
        remove_debris(self._path)

    def _exists(self) -> bool:
        return (self._path / RECORD).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
