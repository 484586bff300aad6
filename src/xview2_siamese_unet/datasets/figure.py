"""Charts and pictures, drawn once: Kedro-Viz previews the file that the report embeds."""

from __future__ import annotations

from kedro_datasets._typing import HTMLPreview
from matplotlib.figure import Figure

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.report.page import png_uri, svg_uri


class FigureDataset(OneFile[Figure, bytes]):
    """A matplotlib figure, saved as SVG or PNG; loading returns the bytes of the file."""

    def save(self, data: Figure) -> None:
        """Write the figure in the format of the suffix; an SVG without the time of writing."""
        with whole_file(self._path) as part:
            data.savefig(part, metadata={"Date": None} if self._path.suffix == ".svg" else None)

    def load(self) -> bytes:
        """Return the file, for a page or `IPython.display`."""
        return self._path.read_bytes()

    def preview(self) -> HTMLPreview:
        """Return the picture in a page, because Kedro-Viz takes every image for a PNG."""
        uri = svg_uri if self._path.suffix == ".svg" else png_uri
        return HTMLPreview(f'<img style="width: 100%" src="{uri(self.load())}">')
