"""Which logging file holds in a folder below the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from xview2_siamese_unet.config_loader import overlooked_logging


def test_the_projects_logging_holds_in_the_folders_below_it(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert overlooked_logging(shipped) is None  # Kedro finds it
    monkeypatch.chdir(shipped / "src")
    assert overlooked_logging(shipped) == shipped / "conf" / "logging.yml"


def test_a_logging_file_that_somebody_named_or_put_there_is_left_alone(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shipped / "src")
    with monkeypatch.context() as patch:
        patch.setenv("KEDRO_LOGGING_CONFIG", "mine.yml")
        assert overlooked_logging(shipped) is None
    (shipped / "src/conf").mkdir()
    (shipped / "src/conf/logging.yml").touch()
    assert overlooked_logging(shipped) is None


def test_outside_a_project_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert overlooked_logging(None) is None
