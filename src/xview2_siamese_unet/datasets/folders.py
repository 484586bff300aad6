"""Folders that a library writes into by itself: logs and the weights of epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError


class FoldersDataset(AbstractDataset[NoReturn, dict[str, Path]]):
    """Named folders, made where they are missing; loading returns name → path.

    Args:
        filepath: folder of them all.
        folders: name → name below it.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, folders: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
        self._folders = {name: Path(filepath) / folder for name, folder in folders.items()}
        self.metadata = metadata

    def load(self) -> dict[str, Path]:
        """Return the folders."""
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return self._folders

    def save(self, data: NoReturn) -> None:
        """Refuse: whoever holds a folder writes into it."""
        raise DatasetError("folders are read, then written into")

    def _exists(self) -> bool:
        return True  # loading makes them

    def _describe(self) -> dict[str, Any]:
        return {"folders": self._folders}
