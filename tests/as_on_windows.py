"""Importing this module imposes restrictions of Windows on this process.

- Functions of `os` that Windows lacks are removed.
- A file that is open or mapped cannot be removed, renamed or replaced.
- The package must name the encoding of each text file that it opens (under `-X warn_default_encoding`).
- pandas ends lines of text as on Windows.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

PROCESS = Path("/proc/self")
MISSING = ("fork", "forkpty", "pread", "preadv", "pwrite", "pwritev", "posix_fadvise", "sched_getaffinity", "sync")


def open_files() -> set[str]:
    """Return the paths of all files that this process has open or mapped."""
    mapped = re.findall(r" (/.*)", (PROCESS / "maps").read_text(encoding="utf-8"))
    links = [
        link for link in (PROCESS / "fd").iterdir() if link.is_symlink()
    ]  # the descriptor of this listing is closed by now
    return {*mapped, *(str(link.readlink()) for link in links)}


def refuse(event: str, args: tuple[Any, ...]) -> None:
    """Raise for a file that is in use."""
    if event == "os.rename":
        paths = [(args[0], args[2]), (args[1], args[3])]
    elif event == "os.remove":
        paths = [args]
    else:
        return
    held = open_files()
    for path, folder in paths:
        parent = Path() if folder == -1 else (PROCESS / "fd" / str(folder)).readlink()
        if os.path.realpath(parent / os.fsdecode(path)) in held:
            raise PermissionError(errno.EACCES, "the file is in use", os.fsdecode(path))


for name in MISSING:
    delattr(os, name)
os.linesep = "\r\n"
warnings.filterwarnings("error", category=EncodingWarning, module="xview2_siamese_unet")
sys.addaudithook(refuse)
