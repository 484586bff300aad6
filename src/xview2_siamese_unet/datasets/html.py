"""A page that Kedro-Viz shows as it is."""

from __future__ import annotations

from kedro_datasets._typing import HTMLPreview

from xview2_siamese_unet.datasets.whole_text import WholeTextDataset


class HtmlDataset(WholeTextDataset):
    """One self-contained HTML file, which Kedro-Viz shows."""

    def preview(self) -> HTMLPreview:
        """Return the page."""
        return HTMLPreview(self.load())
