"""A project to assess a town in."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipped_project import lay_down_shipped


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped configuration in a folder of its own."""
    return lay_down_shipped(tmp_path_factory.mktemp("project"))
