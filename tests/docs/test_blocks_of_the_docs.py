"""Commands, settings and Python in the README and the docs are valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from docs_blocks import DOCS, PROJECT, Block, blocks, first_column, kedro_commands, lines
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project

from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config.validation import validate
from xview2_siamese_unet.models.card import Card, Member

pytestmark = pytest.mark.filterwarnings("ignore:'BaseCommand' is deprecated")  # Kedro-Viz's own
COMMANDS = kedro_commands()
# test_contributing.py runs the examples of CONTRIBUTING.
PYTHON = [block for block in blocks() if block.language == "python" and "CONTRIBUTING" not in block.place]
YAML = [block for block in blocks() if block.language == "yaml" and "catalog" not in block.title]
BASH = [block for block in blocks() if block.language == "bash"]
CONF = PROJECT / "conf"


@pytest.fixture(scope="module")
def kedro() -> KedroCLI:
    bootstrap_project(PROJECT)
    return KedroCLI(project_path=PROJECT)


def parse(group: click.Command, words: list[str]) -> Iterator[click.Context]:
    """Yield the context of a command and of each subcommand as click parses them, without invoking any."""
    context = group.make_context(group.name or "kedro", list(words))
    yield context
    rest = [*context._protected_args, *context.args]
    if isinstance(group, click.Group | click.CommandCollection) and rest:
        _, command, left = group.resolve_command(context, rest)
        assert command is not None
        yield from parse(command, left)


@pytest.mark.parametrize(
    ("place", "variables", "words"), COMMANDS, ids=[f"{c[0]} {' '.join(c[2])[:60]}" for c in COMMANDS]
)
def test_a_kedro_command_is_valid(kedro: KedroCLI, place: str, variables: dict[str, str], words: list[str]) -> None:
    contexts = list(parse(kedro, words))
    values: dict[str, Any] = {key: value for context in contexts for key, value in context.params.items()}
    named = [values.get("env"), variables.get("KEDRO_ENV"), *(values.get("experiments") or ())]
    for name in filter(None, named):
        assert_known(name)
    for name in values.get("pipelines") or ():
        assert name in pipelines
    nodes = {node.name for name in pipelines for node in pipelines[name].nodes}
    assert {name for key in ("node_names", "to_nodes") for name in values.get(key) or ()} <= nodes
    validate(values.get("params") or {}, Parameters, f"--params in {place}")


def assert_known(name: str) -> None:
    """Check that an environment exists or that a command of the docs creates it."""
    user, _, experiment = name.partition("/")
    created = {words[2] for _, _, words in COMMANDS if words[:2] == ["experiment", "new"]}
    assert user.startswith("<") or (CONF / "users" / user).is_dir()
    assert (
        not experiment
        or experiment.startswith("<")
        or experiment in created
        or (CONF / "experiments" / experiment).is_dir()
    )


def test_the_docs_have_commands_of_every_kind() -> None:
    assert {words[0] for _, _, words in COMMANDS} >= {"run", "assess", "compare", "score", "slurm", "doctor", "viz"}


@pytest.mark.parametrize("block", BASH, ids=[block.place for block in BASH])
def test_scripts_in_a_block_exist(block: Block) -> None:
    scripts = [word for line in lines(block) for word in line.split() if word.endswith((".py", ".sh", ".cfg"))]
    assert [script for script in scripts if not (PROJECT / script).is_file()] == []


@pytest.mark.parametrize("block", YAML, ids=[block.place for block in YAML])
def test_settings_are_valid(block: Block) -> None:
    values = yaml.safe_load(block.text)
    if "card" in block.title:
        validate(values, Card, block.place)
    elif "globals" in block.title:
        validate({"user": "you", "experiment": "first", **values}, Globals, block.place)
    else:
        validate(values, Parameters, block.place)


def test_each_key_of_a_member_is_described() -> None:
    assert sorted(first_column(DOCS / "assess.md", "## Models from elsewhere")) == sorted(Member.model_fields)


@pytest.mark.parametrize("block", PYTHON, ids=[block.place for block in PYTHON])
def test_python_runs_and_writes_nothing(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.place, "exec"), {})  # noqa: S102
    assert list(tmp_path.iterdir()) == []
