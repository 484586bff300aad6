"""What Windows refuses, in this process: importing this module turns it on for good.

- Calls of `os` that Windows lacks are gone.
- A file that is open or mapped is neither removed, renamed nor replaced.
- The package opens no text file in the encoding of the system (under `-X warn_default_encoding`).
- Links are refused, as to users without the developer mode.
- pandas ends lines of text as Windows does.
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


class LinkRefusedError(OSError):
    """As Windows raises it."""

    winerror = 1314


def open_files() -> set[str]:
    """Return the paths of all files that this process has open or mapped."""
    held = set()
    for descriptor in (PROCESS / "fd").iterdir():
        try:
            held.add(str(descriptor.readlink()))
        except FileNotFoundError:  # of the list itself
            continue
    return held | set(re.findall(r" (/.*)", (PROCESS / "maps").read_text(encoding="utf-8")))


def refuse(event: str, args: tuple[Any, ...]) -> None:
    """Raise for a file that is in use."""
    if event == "os.rename":
        paths = list(zip(args[:2], args[2:4], strict=True))
    elif event == "os.remove":
        paths = [(args[0], args[1])]
    else:
        return
    held = open_files()
    for path, folder in paths:
        above = Path() if folder == -1 else (PROCESS / "fd" / str(folder)).readlink()
        if os.path.realpath(above / os.fsdecode(path)) in held:
            raise PermissionError(errno.EACCES, "the file is in use", os.fsdecode(path))


def refuse_link(*args: Any, **_: Any) -> None:
    raise LinkRefusedError(errno.EINVAL, "a required privilege is not held by the client", *map(str, args))


for name in MISSING:
    delattr(os, name)
os.symlink = refuse_link
os.linesep = "\r\n"
warnings.filterwarnings("error", category=EncodingWarning, module="xview2_siamese_unet")
sys.addaudithook(refuse)
