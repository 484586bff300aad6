"""Names that become folders cannot leave their parent folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.scenes import parse_stem

PROJECT = Path(__file__).parents[2]
KEYS = ("user", "experiment", "group", "default_experiment", "dataset.name", "foldernames.checkpoints")
EVIL = ("..", "../x", "a/b", "/etc", "a\\b", ".hidden", "~", "a\0b", "a\nb", "", "x" * 101, "$HOME", "a b")


def named(key: str, name: str) -> dict[str, Any]:
    section, dot, leaf = key.partition(".")
    return {"user": "lab", "experiment": "002"} | {section: {leaf: name} if dot else name}


@pytest.mark.parametrize("key", KEYS)
def test_a_name_must_be_one_part_of_a_path(key: str) -> None:
    Globals.model_validate(named(key, "lab-2.0_x"))
    for name in EVIL:
        with pytest.raises(ValidationError):
            Globals.model_validate(named(key, name))


@pytest.mark.parametrize("disaster", ["..", "../x", "a/b", ".x", "a\0b", "<b>", "a\\b"])
def test_scene_names_must_follow_xbd(disaster: str) -> None:
    parse_stem("a-b_00000001_post_disaster")
    with pytest.raises(DataError):
        parse_stem(f"{disaster}_00000001_post_disaster")


def test_git_ignores_credentials(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    # A new repository, because Git refuses a checkout of another user, and there may be no checkout.
    shutil.copy(PROJECT / ".gitignore", tmp_path)
    subprocess.run([git, "init", "--quiet", tmp_path], check=True)  # noqa: S603
    secret = ["conf/local/credentials.yml", "conf/users/lab/credentials.yml", "conf/local/globals.yml"]
    command = [git, "-C", tmp_path, "check-ignore", *secret, "conf/base/globals.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stdout.split() == secret
