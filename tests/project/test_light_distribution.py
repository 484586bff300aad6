"""The pyproject.toml of the distribution without torch agrees with that of the project."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def full(project_path: Path) -> dict[str, Any]:
    return tomllib.loads((project_path / "pyproject.toml").read_text())


@pytest.fixture
def light(project_path: Path) -> dict[str, Any]:
    return tomllib.loads((project_path / "light" / "pyproject.toml").read_text())


def test_light_dependencies_have_the_same_bounds(full: dict[str, Any], light: dict[str, Any]) -> None:
    project = full["project"]
    assert {*light["project"]["dependencies"]} <= {*project["dependencies"], *project["optional-dependencies"]["onnx"]}


@pytest.mark.parametrize("key", ["scripts", "entry-points", "license", "requires-python", "dynamic"])
def test_light_commands_and_metadata_are_the_same(full: dict[str, Any], light: dict[str, Any], key: str) -> None:
    assert light["project"][key] == full["project"][key]


def test_the_light_distribution_has_the_same_code_and_configuration(
    full: dict[str, Any], light: dict[str, Any]
) -> None:
    ours, theirs = (
        each["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items() for each in (light, full)
    )
    more = {("LICENSE", "xview2_siamese_unet/LICENSE"), ("src/xview2_siamese_unet", "xview2_siamese_unet")}
    assert {(source.removeprefix("../"), target) for source, target in ours} == {*theirs} | more
