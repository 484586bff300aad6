"""Files that change as a whole or not at all, whatever ends the writing: an error, a full disk, a killed process."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_LEFT: Final = 1024**2


@contextmanager
def whole_file(path: Path, ending: str = "") -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` when the block ends without an error.

    Args:
        path: of the file; its folder is made where it is missing.
        ending: of the name to write to, for a library that insists on one.

    Raises:
        OSError: with `errno` and `filename`, also where a library that writes to a full disk says neither.
    """
    with file_beside(path, ending) as part:
        yield part
        part.replace(path)


@contextmanager
def file_beside(path: Path, ending: str = "") -> Iterator[Path]:
    """Yield the path of an empty file beside `path` that is gone when the block ends; raises as `whole_file`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nodes of a cluster share the folder, and process numbers repeat from node to node.
    part = path.with_name(f".{path.name}.{gethostname()}.{os.getpid()}.part{ending}")
    try:
        part.touch()  # where nobody may write, this says so with a number, and the library would in words of its own
        yield part
    except Exception as error:
        if _is_full(error, path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file as UTF-8: a reader sees the old one or the new one."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _is_full(error: Exception, folder: Path) -> bool:
    number = getattr(error, "errno", None)
    return number in FULL or (number is None and shutil.disk_usage(folder).free < _NOTHING_LEFT)
