"""Datasets of one file or one folder: text, pages, figures, checkpoints, run records, folders of a library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import HTMLPreview, JSONPreview

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.errors import CheckpointError, StaleError
from xview2_siamese_unet.report.page import png_uri, svg_uri
from xview2_siamese_unet.runs import begin_run, record_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xview2_siamese_unet.models.checkpoint import CheckpointFormat

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")
_TENSORS = {"state", "history"}


class OneFile(AbstractDataset[Saved, Loaded]):
    """Base of datasets of one file.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}


class TextDataset(OneFile[str, str]):
    """A UTF-8 text file, written atomically."""

    def save(self, data: str) -> None:
        """Write the text."""
        write_atomically(self._path, data)

    def load(self) -> str:
        """Return the text."""
        return self._path.read_bytes().decode()  # keeps line ends


class HtmlDataset(TextDataset):
    """A self-contained HTML page, which Kedro-Viz shows."""

    def preview(self) -> HTMLPreview:
        """Return the page."""
        return HTMLPreview(self.load())


class FigureDataset(OneFile["Figure", bytes]):
    """A matplotlib figure, saved as SVG or PNG; loading returns the bytes, which the report embeds."""

    def save(self, data: Figure) -> None:
        """Write the figure in the format of the suffix; an SVG without the time of writing."""
        with whole_file(self._path) as part:
            data.savefig(part, metadata={"Date": None} if self._path.suffix == ".svg" else None)

    def load(self) -> bytes:
        """Return the bytes of the file."""
        return self._path.read_bytes()

    def preview(self) -> HTMLPreview:
        """Return the picture in a page, because Kedro-Viz takes every image for a PNG."""
        uri = svg_uri if self._path.suffix == ".svg" else png_uri
        return HTMLPreview(f'<img style="width: 100%" src="{uri(self.load())}">')


class CheckpointDataset(OneFile[Any, Any]):
    """A `torch.save` file, read with `weights_only=True`, or a .safetensors file; written atomically.

    Args:
        filepath: the file; the suffix .safetensors selects that format.
        optional: loading a missing file returns `None` instead of raising.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(self, *, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._optional = optional

    def save(self, data: Any) -> None:  # noqa: ANN401
        """Write the checkpoint."""
        with whole_file(self._path) as part:
            self._format.write(data, part)

    def load(self) -> Any:  # noqa: ANN401
        """Return what was saved, on the CPU.

        Raises:
            CheckpointError: the file is missing, damaged, or holds more than tensors, numbers and texts.
        """
        if not self._path.exists():
            if self._optional:
                return None
            raise CheckpointError(
                f"{self._path} does not exist.",
                hint="Run kedro run --pipelines modelling with the same environment first.",
            )
        self._path.open("rb").close()  # raises an error of the disk, which torch reports like a damaged file
        read = self._format.read
        try:
            return read(self._path)
        except Exception as error:  # torch raises half a dozen classes for a file that is no checkpoint
            raise CheckpointError(
                f"{self._path} is damaged or cannot be trusted ({type(error).__name__}): it is no file of tensors, "
                "numbers and texts.",
                # Training reads this file first, too, so that a rerun alone would stop here again.
                hint=f"Delete {self._path}, and run kedro run with this environment to make it again.",
            ) from error

    @property
    def _format(self) -> CheckpointFormat:
        from xview2_siamese_unet.models.checkpoint import format_of  # noqa: PLC0415  torch is slow to import

        return format_of(self._path)

    def _exists(self) -> bool:
        return self._optional or super()._exists()

    def preview(self) -> JSONPreview:
        """Return its numbers and texts, without tensors."""
        data = self.load() or {}
        return JSONPreview(json.dumps({key: value for key, value in data.items() if key not in _TENSORS}, indent=2))


class RunRecordDataset(OneFile[dict[str, Any], dict[str, Any]]):
    """The `run.json` of a run: a resumed or reused run keeps the one that it began with."""

    def save(self, data: dict[str, Any]) -> None:
        """Write the record of a new run.

        Raises:
            StaleError: another record exists, with which the run would give another result.
        """
        if not self._path.exists():
            begin_run(self._path.parent, data)
        elif found := record_differences(self.load(), data):
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


class FoldersDataset(AbstractDataset[NoReturn, dict[str, Path]]):
    """Named folders that a library writes to, such as logs and epochs; loading makes them and returns name → path.

    Args:
        filepath: parent of the folders.
        folders: name → name below it.
        metadata: for Kedro-Viz; ignored here.
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
        """Refuse: a node that loads a folder writes to it."""
        raise DatasetError("Folders are loaded and then written to, not saved.")

    def _exists(self) -> bool:
        return True  # loading makes them

    def _describe(self) -> dict[str, Any]:
        return {"folders": self._folders}
