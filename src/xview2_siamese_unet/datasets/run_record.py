"""What made a run: written once, by the session that begins it."""

from __future__ import annotations

import json
from typing import Any

from kedro_datasets._typing import JSONPreview

from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.errors import StaleError
from xview2_siamese_unet.runs import begin_run, differences


class RunRecordDataset(OneFile[dict[str, Any], dict[str, Any]]):
    """The `run.json` of a run: a resumed or reused run keeps the one that it began with."""

    def save(self, data: dict[str, Any]) -> None:
        """Write the record of a new run.

        Raises:
            StaleError: a record is there, and what it names would give another result.
        """
        if not self._path.exists():
            begin_run(self._path.parent, data)
        elif found := differences(self.load(), data):
            raise StaleError(
                f"Run {self._path.parent.name} cannot be continued: it has {', '.join(found)}.",
                hint="Start the same command again: a new run begins, and this one stays as it is.",
            )

    def load(self) -> dict[str, Any]:
        """Return the record."""
        record: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return record

    def preview(self) -> JSONPreview:
        """Return the record."""
        return JSONPreview(json.dumps(self.load(), indent=2))
