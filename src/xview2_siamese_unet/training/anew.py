"""A training that takes nothing over says so on disk until it has ended: a restart of it then goes on with it alone.

Without that, one that may reuse would take an earlier checkpoint of the same settings for what was asked for anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from xview2_siamese_unet.atomic import write_atomically

_NAME: Final = "begun_anew"


def begin_anew(checkpoints: Path, mark: str) -> None:
    """Write down that the training with these settings and data begins anew; remove the epochs of earlier ones."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    write_atomically(checkpoints / _NAME, mark)
    for stage in (checkpoints, checkpoints / "localization"):
        (stage / "epochs" / "last.ckpt").unlink(missing_ok=True)


def is_unfinished(checkpoints: Path, mark: str) -> bool:
    """Return whether a training with these settings and data began anew and has not ended."""
    note = checkpoints / _NAME
    return note.is_file() and note.read_text(encoding="utf-8") == mark


def end_anew(checkpoints: Path) -> None:
    """Forget it: the training has ended."""
    (checkpoints / _NAME).unlink(missing_ok=True)
