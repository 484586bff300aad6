"""A project for assessments of a town."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipped_project import link_shipped_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the shipped configuration, in its own folder."""
    return link_shipped_project(tmp_path_factory.mktemp("project"))
