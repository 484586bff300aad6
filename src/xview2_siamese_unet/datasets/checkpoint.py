"""The dataset of a checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kedro_datasets._typing import JSONPreview

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.datasets.files import OneFile
from xview2_siamese_unet.errors import CheckpointError

if TYPE_CHECKING:
    from xview2_siamese_unet.models.checkpoint_file import CheckpointFormat

_TENSORS: Final = {"state", "history"}


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
            self._format().write(data, part)

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
        self._path.open("rb").close()  # raises disk errors, which torch would report as a damaged file
        form = self._format()
        try:
            return form.read(self._path)
        except Exception as error:  # torch raises half a dozen classes for a file that is not a checkpoint
            raise CheckpointError(
                f"{self._path} is damaged or cannot be trusted ({type(error).__name__}): it is not a file of tensors, "
                "numbers and texts.",
                # Training reads this file first, too, so that a rerun alone would stop here again.
                hint=f"Delete {self._path}, and run kedro run with this environment to make it again.",
            ) from error

    def _format(self) -> CheckpointFormat:
        # torch is slow to import, and not in every installation
        from xview2_siamese_unet.models.checkpoint_file import format_of  # noqa: PLC0415

        return format_of(self._path)

    def _exists(self) -> bool:
        return self._optional or super()._exists()

    def preview(self) -> JSONPreview:
        """Return its numbers and texts, without tensors."""
        data = self.load() or {}
        return JSONPreview(json.dumps({key: value for key, value in data.items() if key not in _TENSORS}, indent=2))
