"""Atomic writes: a file is the old one or the new one, whatever interrupts writing: an error, a full disk, a kill."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

PART: Final = ".part"
"""Suffix of the hidden folders in which files are written; a killed process leaves its own."""
IN_USE: Final = ".assessment.lock"
"""Name of the lock file in the folder that an assessment writes to."""
WRITTEN: Final = ".work/written.txt"
"""File in which a running assessment lists the SHA-256 of every file before it puts it into the folder."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_LEFT: Final = 1024**2


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` if the block ends without an error.

    It has the name of the file, in a temporary folder of its own next to it, where a library may leave other files.

    Args:
        path: of the file; missing folders are made.

    Raises:
        OSError: with `errno` and `filename`, even if a library does not give them for a full disk; or `path` is no
            place for a file.
    """
    require_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(PART, f".{path.name}.", path.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder) / path.name
            with _name_full_disk(part):
                yield part
                _require_own(path)
                note_written(path.parent, [sha256(part)] if (path.parent / WRITTEN).is_file() else [])
                part.replace(path)
    except OSError as error:
        if error.errno in _FULL or PART in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path), getattr(error, "winerror", None)) from error
        raise


def link_or_copy(path: Path, target: Path) -> None:
    """Make a file that is a symbolic link to another, or a copy where none can be made.

    FAT and some network drives have no links; Windows allows them in Developer Mode only.
    """
    try:
        path.symlink_to(target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(target, path)  # not read-only, as the original may be: Windows would never replace it
        found = target.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def write_atomically(path: Path, text: str) -> None:
    """Write a text file as UTF-8 with the line ends of the text: the same bytes on every system."""
    with whole_file(path) as part:
        part.write_bytes(text.encode())


class AtomicLocalFileSystem(LocalFileSystem):  # type: ignore[misc]
    """fsspec's local files, written atomically: a file is renamed when it is closed without an error.

    Reading, appending and transactions of fsspec are unchanged.
    """

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:  # noqa: ANN401
        """Open as fsspec does."""
        if "b" not in mode:  # not the encoding and the line ends of the system
            options = {"encoding": "utf-8", "newline": "\n" if "w" in mode else None, **options}
        if "w" not in mode or options.get("compression") or self._intrans:
            return super().open(path, mode, **options)
        text = {key: value for key, value in options.items() if key in ("encoding", "errors", "newline")}
        return _AtomicFile(Path(self._strip_protocol(path)), mode, text)


class _AtomicFile:
    """A file being written. An error inside `with` drops it, and so does not closing it."""

    def __init__(self, path: Path, mode: str, text: dict[str, Any]) -> None:
        with ExitStack() as stack:
            part = stack.enter_context(whole_file(path))
            self._file = stack.enter_context(part.open(mode, **text))
            self._ending = stack.pop_all()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)

    def __enter__(self) -> Any:  # noqa: ANN401
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.__exit__(kind, error, trace)

    def close(self) -> None:
        """Finish and rename the file."""
        self._ending.close()


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written(folder: Path) -> set[str]:
    """Return the digests of the files that the running or last interrupted assessment has put into a folder."""
    ledger = folder / WRITTEN
    return set(ledger.read_text(encoding="ascii").split()) if ledger.is_file() else set()


def note_written(folder: Path, digests: Iterable[str]) -> None:
    """Add to these digests."""
    for digest in digests:
        with (folder / WRITTEN).open("a", encoding="ascii") as ledger:
            ledger.write(f"\n{digest}")  # line end first: a line that a killed process left incomplete spoils no other


def _require_own(path: Path) -> None:
    """Refuse to replace a file that no assessment has written, such as one of the user, during an assessment."""
    if (path.parent / WRITTEN).is_file() and path.is_file() and sha256(path) not in written(path.parent):
        raise FileExistsError(errno.EEXIST, "a file that no assessment has written", str(path))


def require_place(path: Path) -> None:
    """Require that a file can be made or replaced at a path.

    Raises:
        OSError: it is a folder, a device or the like, or a file is where a folder is needed.
    """
    # A rename would replace a device or a pipe with a file.
    if path.exists() and not path.is_file():
        kind = (errno.EISDIR, "a folder") if path.is_dir() else (errno.EEXIST, "a device or the like")
        raise OSError(*kind, str(path))
    above = nearest_existing(path.parent)
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"a path below {above}, which is no folder", str(path))


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest one above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def remove_debris(folder: Path) -> None:
    """Remove what killed processes left incomplete below a folder that no other process writes to.

    Folders that an assessment uses are left alone.
    """
    for part in list(folder.rglob(f".*{PART}")):
        if not any((above / IN_USE).exists() for above in part.parents):
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _name_full_disk(part: Path) -> Iterator[None]:
    """Raise `ENOSPC` for errors without a number on a full disk: libraries such as GDAL use messages of their own."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) is None and shutil.disk_usage(part.parent).free < _NOTHING_LEFT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part)) from error
        raise
