"""Every error that a user can cause, each one sentence: where, what was found, what is allowed, what to do next.

ProjectError
    ConfigError      a parameter, an environment or a catalog entry
    DataError        an image, a label or a folder of the dataset
        LabelError   the text of one label file
    StaleError       something on disk that was made with other settings than today's
    CheckpointError  a file of weights
    StorageError     a disk that is full, a path that may not be written to, or one that another run is writing to
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final


class ProjectError(Exception):
    """Base of the tree; carries its four parts so that reports can show them in columns.

    Args:
        where: the file, key or scene that the sentence is about.
        found: what stands there.
        allowed: what may stand there.
        remedy: what the user does next, in the imperative.
    """

    def __init__(self, where: str, *, found: str, allowed: str, remedy: str) -> None:
        super().__init__(where, found, allowed, remedy)
        self.where = where
        self.found = found
        self.allowed = allowed
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.where}: found {self.found}; allowed: {self.allowed}; next: {self.remedy}."

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by keyword, so that an error raised in a worker process reaches its parent whole."""
        return _rebuild, (type(self), self.where, self.found, self.allowed, self.remedy)


def _rebuild(kind: type[ProjectError], where: str, found: str, allowed: str, remedy: str) -> ProjectError:
    return kind(where, found=found, allowed=allowed, remedy=remedy)


class ConfigError(ProjectError):
    """A parameter, an environment or a catalog entry is not usable."""


class DataError(ProjectError):
    """An image, a label or a folder of the dataset is not usable."""


class LabelError(DataError):
    """The text of one label file does not say what an xBD label says."""


class StaleError(ProjectError):
    """What lies on disk was made with other settings than those of this run."""


class CheckpointError(ProjectError):
    """A file of weights cannot be used."""


class StorageError(ProjectError):
    """A disk is full, a path may not be written to or is no file, or another run is writing to it."""


_ROOM: Final = ("room for what is written", "free space, or set storage to a larger disk, and run again")
_RIGHT: Final = ("what you may read and write", "correct the rights, or set storage to a folder of your own")
_PLACE: Final = ("a file, or a new one in a folder", "choose another path")
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
    """Return what the user can do something about in an error and in what caused it; `None` for a defect.

    Kedro wraps what a dataset raises, so ours may be any link of the chain. What the disk refuses counts as well.
    """
    links = list(_chain(error))
    ours = next((link for link in links if isinstance(link, ProjectError)), None)
    return ours or next((said for link in links if (said := _storage_error(link))), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _storage_error(error: BaseException) -> StorageError | None:
    if not isinstance(error, OSError):
        return None
    said = _STORAGE.get(error.errno or 0)
    # A refusal without a file is none of the disk: a port, a process. A disk that fills up often names no file.
    if said is None or (error.filename is None and said is not _ROOM):
        return None
    allowed, remedy = said
    found = str(error.strerror)
    # Of the first letter alone, for what follows may be a path.
    found = found[:1].lower() + found[1:]
    return StorageError(str(error.filename or "storage"), found=found, allowed=allowed, remedy=remedy)
