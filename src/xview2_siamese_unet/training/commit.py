"""Which state of this code a net was trained by, beside its version."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


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
