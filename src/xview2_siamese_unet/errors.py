"""Errors that a user can correct: a sentence with the offending value, and a hint.

ProjectError
    ConfigError      a parameter, an environment or a catalog entry
    DataError        an image, a label or a folder of the dataset
        LabelError   the text of one label file
    StaleError       data on disk that other settings made
    CheckpointError  a file of weights
    StorageError     a full disk, an unwritable path, or a path that another run writes to
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

WINDOWS: Final = (
    "xview2_siamese_unet does not support native Windows. Install it in WSL (wsl --install) and run it there."
)


class ProjectError(Exception):
    """Base of the tree: `DataError("post.tif has no coordinate reference system.", hint="Assign one with ...")`.

    The form with `found`, `allowed` and `remedy` is the older one; new code writes a sentence and a hint.

    Args:
        message: a sentence that names the offending file, key or value; in the older form the file or key alone.
        hint: what the user does next, a sentence in the imperative.
        found: what stands there.
        allowed: what may stand there.
        remedy: what the user does next.
    """

    def __init__(self, message: str, *, hint: str = "", found: str = "", allowed: str = "", remedy: str = "") -> None:
        super().__init__(message, hint, found, allowed, remedy)
        self.where = message
        self.found = found
        self.allowed = allowed
        self.remedy = remedy or hint

    @property
    def message(self) -> str:
        """What is wrong, without the hint."""
        return f"{self.where}: found {self.found}" if self.found else self.where

    @property
    def hint(self) -> str:
        """What the user does next."""
        return self.remedy

    def __str__(self) -> str:
        """Return the message and the hint."""
        if self.found:
            return f"{self.message}; allowed: {self.allowed}; next: {self.remedy}."
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by keyword, so that an error of a worker process is complete."""
        return _rebuild, (type(self), *self.args)


def _rebuild(kind: type[ProjectError], message: str, hint: str, found: str, allowed: str, remedy: str) -> ProjectError:
    return kind(message, hint=hint, found=found, allowed=allowed, remedy=remedy)


class ConfigError(ProjectError):
    """A parameter, an environment or a catalog entry is not usable."""


class DataError(ProjectError):
    """An image, a label or a folder of the dataset is not usable."""


class LabelError(DataError):
    """The text of one label file is no xBD label."""


class StaleError(ProjectError):
    """Data on disk that other settings than those of this run made."""


class CheckpointError(ProjectError):
    """A file of weights cannot be used."""


class StorageError(ProjectError):
    """A disk is full, a path cannot be written, or another run is writing to it."""


_ROOM: Final = "Free space, or choose a larger disk (storage in conf, or --out of a command), and run again."
_RIGHT: Final = "Correct the permissions, or choose another folder (storage in conf, or --out of a command)."
_PLACE: Final = "Choose another path."
_STORAGE: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _RIGHT,
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EEXIST: _PLACE,
    errno.EISDIR: _PLACE,
    errno.ENOTDIR: _PLACE,
    errno.ENAMETOOLONG: _PLACE,
}


def cause_of(error: BaseException) -> ProjectError | None:
    """Return the error that the user can correct in a chain; `None` for a defect.

    Kedro wraps the errors of datasets, so ours may be any link of the chain. Errors of the disk count as well.
    """
    links = list(chain(error))
    ours = next((link for link in links if isinstance(link, ProjectError)), None)
    return ours or next((said for link in links if (said := _storage_error(link))), None)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it, as a traceback shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _storage_error(error: BaseException) -> StorageError | None:
    if not isinstance(error, OSError):
        return None
    hint = _STORAGE.get(error.errno or 0)
    # A refusal without a file is none of the disk: a port, a process. A disk that fills up often names no file.
    if hint is None or (error.filename is None and hint is not _ROOM):
        return None
    reason = str(error.strerror)
    # Of the first letter alone, for what follows may be a path.
    return StorageError(f"{error.filename or 'The disk'}: {reason[:1].lower()}{reason[1:]}.", hint=hint)
