"""Atomic writes: after an error, a full disk or a kill, a file is either the old one or the new one."""

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
"""Suffix of the hidden folders in which files are written; a killed process leaves its folder behind."""
IN_USE: Final = ".assessment.lock"
"""Name of the lock file in the folder that an assessment writes to."""
WRITTEN: Final = ".work/written.txt"
"""File in which a running assessment lists the SHA-256 of each product before it moves it into the folder."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_LEFT: Final = 1024**2
"""Free bytes below which a disk counts as full."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` if the block ends without an error.

    The path has the same name in a temporary folder next to it, which is removed with any other files in it.

    Args:
        path: of the file; missing folders are created.

    Raises:
        OSError: with `errno` and `filename`, even if a library omits them for a full disk; or no file can be made
            at `path`.
    """
    require_file_path(path)
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
    """Make a file that is a symbolic link to another, or a copy if none can be made.

    FAT and some network drives have no links; Windows allows them in Developer Mode only.
    """
    try:
        path.symlink_to(target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(target, path)  # not read-only, as the original may be: Windows would never replace it
        times = target.stat()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


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
    """A file that is being written; dropped after an error inside `with`, or if it is never closed."""

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
    """Add digests to those of `written`."""
    for digest in digests:
        with (folder / WRITTEN).open("a", encoding="ascii") as ledger:
            ledger.write(f"\n{digest}")  # line end first: an incomplete line of a killed process stays separate


def _require_own(path: Path) -> None:
    """Refuse to replace a file that no assessment has written, such as one of the user, during an assessment."""
    if (path.parent / WRITTEN).is_file() and path.is_file() and sha256(path) not in written(path.parent):
        raise FileExistsError(errno.EEXIST, "a file that no assessment has written", str(path))


def require_file_path(path: Path) -> None:
    """Require that a file can be made or replaced at a path.

    Raises:
        OSError: the path is a folder, a device or the like, or there is a file in place of one of its folders.
    """
    # A rename would replace a device or a pipe with a file.
    if path.exists() and not path.is_file():
        kind = (errno.EISDIR, "a folder") if path.is_dir() else (errno.EEXIST, "a device or the like")
        raise OSError(*kind, str(path))
    above = nearest_existing(path.parent)
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"a path below {above}, which is not a folder", str(path))


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest one above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def remove_debris(folder: Path) -> None:
    """Remove incomplete files that killed processes left below a folder; no other process may write to it.

    Folders that an assessment is writing to are left unchanged.
    """
    for part in list(folder.rglob(f".*{PART}")):
        if not any((above / IN_USE).exists() for above in part.parents):
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _name_full_disk(part: Path) -> Iterator[None]:
    """Raise `ENOSPC` for errors without a number on a full disk: libraries such as GDAL only give a message."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) is None and shutil.disk_usage(part.parent).free < _NOTHING_LEFT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part)) from error
        raise
