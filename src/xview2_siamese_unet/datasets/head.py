"""Dataset of a fitted head."""

from __future__ import annotations

from pathlib import Path

from xview2_siamese_unet.adaptation.head import Head, write_head
from xview2_siamese_unet.datasets.files import OneFile
from xview2_siamese_unet.inference.products import begin


class HeadDataset(OneFile[Head, Path]):
    """A head as safetensors, written atomically; loading returns its path.

    Saving begins the adapted assessment: it removes the record of an earlier one.
    """

    def save(self, data: Head) -> None:
        """Write the head."""
        begin(self._path.parent)
        write_head(data, self._path)

    def load(self) -> Path:
        """Return the path."""
        return self._path
