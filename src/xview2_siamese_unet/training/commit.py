"""Which state of this code made a result, beside its version."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from xview2_siamese_unet import __version__

_PACKAGE: Final = Path(__file__).parents[1]
_IMPORT: Final = re.compile(rf"^\s*from {_PACKAGE.name}\.?([\w.]*) import ([\w, ]*)", re.MULTILINE)
_WORDS: Final = {"errors", "progress", "atomic"}
"""Modules that decide what is said and how files are written, not what is in them."""


@cache
def code_digest(*modules: str) -> str:
    """Return a text that changes with any line of these modules of the package, or of one that they import.

    Args:
        modules: names below the package, such as `training.losses`.
    """
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in _WORDS:
            continue
        # An installation without source has its version instead.
        found[name] = _file(name).read_bytes() if _file(name).is_file() else __version__.encode()
        for package, names in _IMPORT.findall(found[name].decode()):
            # `from xbd import labels` imports a module; `from xbd.labels import parse` a name of one.
            parts = [f"{package}.{each.strip()}".strip(".") for each in names.split(",")]
            waiting += [part for part in (package, *parts) if part and _file(part).is_file()]
    digest = blake2b(digest_size=16)
    for name, source in sorted(found.items()):
        digest.update(f"{name} {len(source)} ".encode() + source)
    return digest.hexdigest()


def _file(module: str) -> Path:
    return _PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def code_commit(file: Path = Path(__file__)) -> str:
    """Return the commit that Git has this code at, with `-dirty` where files were changed since.

    Args:
        file: a file of the code.

    Returns:
        Nothing where the code is no checkout, as after `pip install`, or Git is not there.
    """
    git = shutil.which("git")
    if git is None:
        return ""
    # An installed copy may lie inside the repository of somebody's own project, whose commit says nothing of it.
    for command in (["ls-files", "--error-unmatch", file.name], ["describe", "--always", "--dirty", "--exclude=*"]):
        done = subprocess.run(  # noqa: S603  a list, no shell
            [git, "-C", str(file.parent), *command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return ""
    return done.stdout.strip()
