"""An `--out` that cannot be written ends a command before it works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from xview2_siamese_unet.cli import cli
from xview2_siamese_unet.errors import StorageError, cause_of

COMMANDS = (["score", "predictions", "targets"], ["compare", "a/1", "b/2"], ["leave-events-out", "socal-fire"])
"""None of them finds what it is given, which would be another error."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "README.md").write_text("text")
    (tmp_path / "docs").mkdir()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(command: list[str], out: str) -> str:
    done = CliRunner().invoke(cli, [*command, "--out", out])
    assert done.exit_code == 1
    assert done.exception is not None
    said = cause_of(done.exception)
    assert isinstance(said, StorageError), done.exception
    return str(said)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("README.md/x.html", "README.md/x.html: a path below README.md, which is no folder"),
        ("README.md/new/x.html", "README.md/new/x.html: a path below README.md, which is no folder"),
        ("", ".: a folder"),
        ("docs", "docs: a folder"),
        ("pipe", "pipe: a device or the like"),
        ("x" * 300, f"{'x' * 300}: file name too long"),
    ],
)
def test_a_path_that_cannot_be_a_file_is_refused_first(
    folder: Path, command: list[str], out: str, sentence: str
) -> None:
    before = {path: path.stat().st_mode for path in folder.rglob("*")}
    assert refusal(command, out).startswith(f"{sentence}. Choose another path.")
    assert {path: path.stat().st_mode for path in folder.rglob("*")} == before


def test_a_folder_without_the_right_to_write_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path) == Path("docs")))
    for command in COMMANDS:
        assert refusal(command, "docs/new/x.html").startswith("docs/new/x.html: permission denied.")
