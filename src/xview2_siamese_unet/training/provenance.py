"""The code that made a result: a digest of its modules, and the Git commit."""

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
_IGNORED: Final = {"errors", "progress", "atomic"}
"""Modules that decide what is logged and how files are written, not what is in them."""


@cache
def code_digest(*modules: str) -> str:
    """Return a digest of modules of this package and of all modules that they import.

    Args:
        modules: names below the package, such as `training.losses`.
    """
    sources: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in sources or name in _IGNORED:
            continue
        # An installation without source has its version instead.
        sources[name] = _file(name).read_bytes() if _file(name).is_file() else __version__.encode()
        for package, names in _IMPORT.findall(sources[name].decode()):
            # `from xbd import labels` imports a module; `from xbd.labels import parse` a name of one.
            parts = [f"{package}.{each.strip()}".strip(".") for each in names.split(",")]
            waiting += [part for part in (package, *parts) if part and _file(part).is_file()]
    digest = blake2b(digest_size=16)
    for name, source in sorted(sources.items()):
        digest.update(f"{name} {len(source)} ".encode() + source)
    return digest.hexdigest()


def _file(module: str) -> Path:
    return _PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def code_commit(file: Path = Path(__file__)) -> str:
    """Return the Git commit, `-dirty` after changes; empty outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    # An installed copy may lie inside the repository of another project, which does not track it.
    for command in (["ls-files", "--error-unmatch", file.name], ["describe", "--always", "--dirty", "--exclude=*"]):
        done = subprocess.run(  # noqa: S603  a list, no shell
            [git, "-C", str(file.parent), *command], capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode:
            return ""
    return done.stdout.strip()
