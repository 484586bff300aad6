from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from xview2_siamese_unet.training.provenance import code_commit

GIT = shutil.which("git")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of code that is not committed yet, in a repository."""
    if GIT is None:
        pytest.skip("git is not installed")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    (tmp_path / "code.py").write_text("1\n")
    return tmp_path / "code.py"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run([str(GIT), "-C", str(folder), *words], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


def test_code_in_a_repository_has_its_commit_and_a_dirty_mark(file: Path) -> None:
    git(file.parent, "add", ".")
    git(file.parent, "commit", "--quiet", "--message", "code")
    commit = git(file.parent, "rev-parse", "--short", "HEAD")
    assert code_commit(file) == commit
    file.write_text("2\n", encoding="utf-8")
    assert code_commit(file) == f"{commit}-dirty"


def test_an_installed_copy_does_not_take_the_commit_of_the_repository_around_it(file: Path) -> None:
    assert code_commit(file) == ""


def test_code_outside_of_a_repository_or_without_git_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_commit(tmp_path / "code.py") == ""
    monkeypatch.setenv("PATH", "")
    assert code_commit() == ""
