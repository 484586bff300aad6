"""The CI workflow: three systems, pinned actions, read-only permissions and no secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def workflow(project_path: Path) -> dict[str, Any]:
    return yaml.safe_load((project_path / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def test_three_systems_run_the_tests(workflow: dict[str, Any]) -> None:
    runs = {name: [step.get("run") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    assert runs["linux"][-1] == ".ci/run"
    assert runs["tests"][-1] == "uv run pytest"
    systems = [workflow["jobs"]["linux"]["runs-on"], *workflow["jobs"]["tests"]["strategy"]["matrix"]["os"]]
    assert [system.partition("-")[0] for system in systems] == ["ubuntu", "macos", "windows"]


def test_the_workflow_may_only_read_and_runs_pinned_actions(workflow: dict[str, Any], project_path: Path) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    actions = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert len(actions) == 4
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)
    assert "secrets" not in (project_path / ".github/workflows/ci.yml").read_text(encoding="utf-8")
