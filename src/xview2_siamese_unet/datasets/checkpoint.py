"""Files of tensors, numbers and texts that load without unpickling code."""

from __future__ import annotations

import json
from typing import Any

from kedro_datasets._typing import JSONPreview

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.errors import CheckpointError

_BULKY = {"state", "history"}
_ALLOWED = "a file of tensors, numbers and texts that this project wrote"


class CheckpointDataset(OneFile[Any, Any]):
    """A `torch.save` file, written whole or not at all and read with `weights_only=True`; or a .safetensors file.

    Args:
        filepath: the file; one that ends with .safetensors holds a checkpoint of a net in that format.
        optional: loading gives `None` where there is no file, in place of an error.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._optional = optional

    def save(self, data: Any) -> None:  # noqa: ANN401
        """Write beside, then rename."""
        import torch  # noqa: PLC0415  a run that touches no weights does not wait for torch

        from xview2_siamese_unet.models.checkpoint import write_safetensors  # noqa: PLC0415

        write = write_safetensors if self._path.suffix == ".safetensors" else torch.save
        with whole_file(self._path) as part:
            write(data, part)

    def load(self) -> Any:  # noqa: ANN401
        """Return what was saved, on the CPU.

        Raises:
            CheckpointError: no such file, or one that is damaged or holds more than tensors, numbers and texts.
        """
        import torch  # noqa: PLC0415

        from xview2_siamese_unet.models.checkpoint import read_safetensors  # noqa: PLC0415

        if not self._path.exists():
            if self._optional:
                return None
            raise CheckpointError(
                str(self._path),
                found="no file",
                allowed=_ALLOWED,
                remedy="run kedro run --pipelines modelling with the same environment first",
            )
        self._path.open("rb").close()  # what the disk refuses is no damage, but torch raises the same for some damages
        try:
            if self._path.suffix == ".safetensors":
                return read_safetensors(self._path)
            return torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for one cause: a file that is not ours
            raise CheckpointError(
                str(self._path),
                found=f"a file that is damaged or cannot be trusted ({type(error).__name__})",
                allowed=_ALLOWED,
                # Training, too, reads it first: it would only stop here again.
                remedy=f"delete {self._path}, and run kedro run with this environment: what is missing is made anew",
            ) from error

    def _exists(self) -> bool:
        return self._optional or super()._exists()

    def preview(self) -> JSONPreview:
        """Return what can be read of it: its numbers and texts, not its tensors."""
        data = self.load() or {}
        return JSONPreview(json.dumps({key: value for key, value in data.items() if key not in _BULKY}, indent=2))
