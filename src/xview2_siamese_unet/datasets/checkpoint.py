"""Files of tensors, numbers and texts that load without unpickling code."""

from __future__ import annotations

import json
from typing import Any

from kedro_datasets._typing import JSONPreview

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.errors import CheckpointError

_BULKY = {"state", "history"}


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

        from xview2_siamese_unet.nets.weights_file import write_safetensors  # noqa: PLC0415

        write = write_safetensors if self._path.suffix == ".safetensors" else torch.save
        with whole_file(self._path) as part:
            write(data, part)

    def load(self) -> Any:  # noqa: ANN401
        """Return what was saved, on the CPU.

        Raises:
            CheckpointError: no such file, or one that holds more than tensors, numbers and texts.
        """
        import torch  # noqa: PLC0415

        from xview2_siamese_unet.nets.weights_file import read_safetensors  # noqa: PLC0415

        if self._optional and not self._path.exists():
            return None
        try:
            if self._path.suffix == ".safetensors":
                return read_safetensors(self._path)
            return torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for one cause: a file that is not ours
            unusable = f"a file that cannot be trusted ({type(error).__name__})"
            raise CheckpointError(
                str(self._path),
                found=unusable if self._path.exists() else "no file",
                allowed="a file of tensors, numbers and texts that this project wrote",
                remedy="run kedro run --pipelines modelling with the same environment first",
            ) from error

    def preview(self) -> JSONPreview:
        """Return what can be read of it: its numbers and texts, not its tensors."""
        data = self.load() or {}
        return JSONPreview(json.dumps({key: value for key, value in data.items() if key not in _BULKY}, indent=2))
