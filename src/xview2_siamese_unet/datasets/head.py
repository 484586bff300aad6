"""Dataset of a fitted head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xview2_siamese_unet.datasets.files import OneFile
from xview2_siamese_unet.inference.products import begin

if TYPE_CHECKING:
    from xview2_siamese_unet.adaptation.head import Head


class HeadDataset(OneFile["Head", Path]):
    """A head as safetensors, written atomically; loading returns its path.

    Saving begins the adapted assessment: it removes the record of an earlier one.
    """

    def save(self, data: Head) -> None:
        """Write the head."""
        from xview2_siamese_unet.adaptation.head import write_head  # noqa: PLC0415  scikit-learn is slow to import

        begin(self._path.parent)
        write_head(data, self._path)

    def load(self) -> Path:
        """Return the path."""
        return self._path
