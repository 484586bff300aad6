"""The folder of one assessment: what may be written there, and what says that it is finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from xview2_siamese_unet.atomic import PART, write_atomically
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.inference.folder import PRODUCTS, work_folder

RECORD: Final = PRODUCTS[0]


class AssessmentDataset(OneFile[dict[str, Any], Path]):
    """Loading gives the folder; saving writes `run.json`, which makes an assessment finished, and clears its work."""

    def load(self) -> Path:
        """Return the folder, which need not exist yet."""
        return self._path

    def save(self, data: dict[str, Any]) -> None:
        """Write the record, then remove what only a run that is stopped would need."""
        write_atomically(self._path / RECORD, json.dumps(data, indent=2, allow_nan=False))
        shutil.rmtree(work_folder(self._path), ignore_errors=True)
        for product in PRODUCTS:  # and no more: the folder is the user's, and other runs may write below it
            for part in self._path.glob(f".{product}.*{PART}"):
                shutil.rmtree(part, ignore_errors=True)

    def _exists(self) -> bool:
        return (self._path / RECORD).is_file()
