"""Datasets of one file or one folder: text, pages, figures, run records, folders of a library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import HTMLPreview, JSONPreview

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.errors import StaleError
from xview2_siamese_unet.report.page import png_uri, svg_uri
from xview2_siamese_unet.runs import begin_run, record_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


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
        """Write the figure in the format of the suffix; an SVG holds no time of writing."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415  only a run needs it

        with whole_file(self._path) as part:
            if self._path.suffix == ".svg":  # savefig would draw it twice
                FigureCanvasSVG(data).print_svg(part, metadata={"Date": None})  # type: ignore[no-untyped-call]
            else:
                data.savefig(part)

    def load(self) -> bytes:
        """Return the bytes of the file."""
        return self._path.read_bytes()

    def preview(self) -> HTMLPreview:
        """Return the picture in a page, because Kedro-Viz treats every image as a PNG."""
        uri = svg_uri if self._path.suffix == ".svg" else png_uri
        return HTMLPreview(f'<img style="width: 100%" src="{uri(self.load())}">')


class RunRecordDataset(OneFile[dict[str, Any], dict[str, Any]]):
    """The `run.json` of a run; a resumed or reused run keeps its first record."""

    def save(self, data: dict[str, Any]) -> None:
        """Write the record of a new run.

        Raises:
            StaleError: the existing record differs in a way that changes the result.
        """
        if not self._path.exists():
            begin_run(self._path.parent, data)
        elif differences := record_differences(self.load(), data):
            raise StaleError(
                f"Run {self._path.parent.name} cannot be resumed: it has {', '.join(differences)}.",
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
