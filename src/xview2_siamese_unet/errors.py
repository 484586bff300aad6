"""Errors that a user can correct: a sentence with the offending value, and a hint.

ProjectError
    ConfigError      a parameter, an environment or a catalog entry
    DataError        an image, a label or a folder of the dataset
        LabelError   the text of one label file
    StaleError       data on disk that were made with other settings
    CheckpointError  a file of weights
    StorageError     a full disk, an unwritable path, or a path that another run writes to
        InUseError   a folder that another assessment writes to
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from xview2_siamese_unet.packages import feature_of


class ProjectError(Exception):
    """Base of the tree: `DataError("post.tif has no coordinate reference system.", hint="Assign one with ...")`.

    Args:
        message: a sentence that names the offending file, key or value.
        hint: what the user does next, a sentence in the imperative.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message and the hint."""
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by keyword, so that an error of a worker process is complete."""
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[ProjectError], message: str, hint: str) -> ProjectError:
    return kind(message, hint=hint)


class ConfigError(ProjectError):
    """A parameter, an environment or a catalog entry is not usable."""


class DataError(ProjectError):
    """An image, a label or a folder of the dataset is not usable."""


class LabelError(DataError):
    """The text of a label file is not an xBD label."""


class StaleError(ProjectError):
    """Data on disk were made with other settings than those of this run."""


class CheckpointError(ProjectError):
    """A file of weights cannot be used."""


class StorageError(ProjectError):
    """A disk is full, a path cannot be written, or another run is writing to it."""


class InUseError(StorageError):
    """Another assessment is writing to a folder."""


_FREE_SPACE: Final = "Free space, or choose a larger disk (storage in conf, or --out of a command), and run again."
_PERMISSIONS: Final = "Correct the permissions, or choose another folder (storage in conf, or --out of a command)."
_OTHER_PATH: Final = "Choose another path."
_STORAGE: Final = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EROFS: _PERMISSIONS,
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EEXIST: _OTHER_PATH,
    errno.EISDIR: _OTHER_PATH,
    errno.ENOTDIR: _OTHER_PATH,
    errno.ENAMETOOLONG: _OTHER_PATH,
}
_IN_USE: Final = f"Close the program that has it open, such as QGIS, and run again. {_PERMISSIONS}"
_WINDOWS: Final = {
    5: _IN_USE,
    32: _IN_USE,
}
"""`winerror` → hint, for operations that only Windows refuses."""


def cause_of(error: BaseException) -> ProjectError | None:
    """Return the error that the user can correct in a chain; `None` for a defect.

    Kedro wraps the errors of datasets, so it may be any link of the chain. Disk errors and packages that this
    installation lacks count as well.
    """
    links = list(chain(error))
    ours = next((link for link in links if isinstance(link, ProjectError)), None)
    return ours or next((refusal for link in links if (refusal := _storage_error(link) or _missing(link))), None)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, as a traceback shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _missing(error: BaseException) -> ConfigError | None:
    if isinstance(error, ModuleNotFoundError) and error.name and (feature := feature_of(error.name)):
        message = f"The package {error.name} is not installed. It is needed for {feature.name}."
        return ConfigError(message, hint=f"Install it: {feature.install}.")
    return None


def _storage_error(error: BaseException) -> StorageError | None:
    if not isinstance(error, OSError):
        return None
    hint = _WINDOWS.get(getattr(error, "winerror", 0)) or _STORAGE.get(error.errno or 0)
    # An error without a file name comes from a port or a process; only that of a full disk often lacks one.
    if hint is None or (error.filename is None and hint is not _FREE_SPACE):
        return None
    reason = str(error.strerror)
    # Only the first letter: a path may follow.
    return StorageError(f"{error.filename or 'The disk'}: {reason[:1].lower()}{reason[1:]}.", hint=hint)
