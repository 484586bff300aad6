"""What all datasets have in common whose saving takes a plan and does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from kedro.io import AbstractDataset

from xview2_siamese_unet.params.execution import ExecutorParams

Plan = TypeVar("Plan")
Loaded = TypeVar("Loaded")


class JobFolder(AbstractDataset[Plan, Loaded]):
    """A folder that jobs fill, in this process or in several: no pixel travels between them, and memory does not grow.

    Args:
        filepath: the folder.
        executor: parameters of `ExecutorParams`.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, executor: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self._executor = ExecutorParams(**executor)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, "executor": self._executor}
