"""Files that change as a whole or not at all, whatever ends the writing: an error, a full disk, a killed process."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PART: Final = ".part"
"""Ending of the hidden folders in which files are written; a killed process leaves its own."""
IN_USE: Final = ".assessment.lock"
"""Name of the file in the folder that an assessment is writing to."""
WRITTEN: Final = ".work/written.txt"
"""Where an assessment under way lists the SHA-256 of every file that it puts into the folder, before it is there."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_LEFT: Final = 1024**2


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what lies there takes the place of `path` when the block ends without an error.

    The path has the name of the file and a new folder beside it for itself, in which a library may leave what it needs
    while it writes; the folder is gone when the block ends.

    Args:
        path: of the file; its folder is made where it is missing.

    Raises:
        OSError: with `errno` and `filename`, also where a library that writes to a full disk says neither; and where
            the path is not one for a file.
    """
    require_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(PART, f".{path.name}.", path.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder) / path.name
            with _full_disk_has_a_number(part):
                yield part
                _require_own(path)
                note_written(path.parent, [sha256(part)] if (path.parent / WRITTEN).is_file() else [])
                part.replace(path)
    except OSError as error:
        if error.errno in _FULL or PART in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written(folder: Path) -> set[str]:
    """Return the digests of what the assessment under way in a folder, or one that was stopped, has put there."""
    ledger = folder / WRITTEN
    return set(ledger.read_text(encoding="ascii").split()) if ledger.is_file() else set()


def note_written(folder: Path, digests: Iterable[str]) -> None:
    """Add to those digests."""
    for digest in digests:
        with (folder / WRITTEN).open("a", encoding="ascii") as ledger:
            ledger.write(f"\n{digest}")  # in this order, a line that a killed process has torn spoils no other


def _require_own(path: Path) -> None:
    """Look whether an assessment under way would replace a file that none has written, such as one of the user."""
    if (path.parent / WRITTEN).is_file() and path.is_file() and sha256(path) not in written(path.parent):
        raise FileExistsError(errno.EEXIST, "a file that no assessment has written", str(path))


def write_atomically(path: Path, text: str) -> None:
    """Write a text file as UTF-8: a reader sees the old one or the new one."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def require_place(path: Path) -> None:
    """Look whether a file may be made there, or one that is there be replaced.

    Raises:
        OSError: a folder, a device or the like lies there, or a file where a folder is needed.
    """
    # A rename would put a file in the place of a device or a pipe.
    if path.exists() and not path.is_file():
        kind = (errno.EISDIR, "a folder") if path.is_dir() else (errno.EEXIST, "a device or the like")
        raise OSError(*kind, str(path))
    above = nearest_existing(path.parent)
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"a path below {above}, which is no folder", str(path))


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def remove_debris(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder and below; no other may be writing there.

    But an assessment may: what is below a folder in use stays.
    """
    for part in list(folder.rglob(f".*{PART}")):
        if not any((above / IN_USE).exists() for above in part.parents):
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _full_disk_has_a_number(part: Path) -> Iterator[None]:
    """Libraries such as GDAL say in words of their own, and not always of what, that a disk is full."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) is None and shutil.disk_usage(part.parent).free < _NOTHING_LEFT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part)) from error
        raise
