"""Messages and help name only commands that the running program, `xview2` or `kedro`, has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xview2_siamese_unet.cli import command
from xview2_siamese_unet.cli.command import IN_ANY_FOLDER, CommandTable, as_called
from xview2_siamese_unet.config_loader import PACKAGED
from xview2_siamese_unet.project import Project
from xview2_siamese_unet.standalone import commands

HELP = """
import sys
from click.testing import CliRunner
from xview2_siamese_unet.standalone import IN_ANY_FOLDER, commands
for words in [], *([name] for name in IN_ANY_FOLDER), *(["campaign", name] for name in ("plan", "run", "status")):
    assert CliRunner().invoke(commands, [*words, "--help"]).exit_code == 0
print(*{"torch", "pandas", "geopandas", "rasterio", "scipy"} & {*sys.modules})
"""
CLONE = "The command kedro works only in a clone of the project."


@pytest.fixture
def no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_project", lambda: Project(tmp_path, PACKAGED))


@pytest.mark.usefixtures("no_project")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Run kedro label, then kedro model export.", "Run xview2 label, then xview2 model export."),
        ("Train it with kedro run, or name another.", f"Train it with kedro run, or name another. {CLONE}"),
        ("See kedro compare", f"See kedro compare. {CLONE}"),
        ("kedro 1.7 is installed.", "kedro 1.7 is installed."),
    ],
)
def test_without_a_project_a_message_names_commands_that_work(text: str, expected: str) -> None:
    assert as_called(text, "xview2") == expected
    assert as_called(text, "kedro") == text


def test_in_a_project_both_programs_work() -> None:
    assert as_called("Run kedro run, then kedro label.", "xview2") == "Run kedro run, then xview2 label."


@pytest.mark.usefixtures("no_project")
def test_the_program_name_comes_from_the_context() -> None:
    for program, expected in (("kedro", "Run kedro label."), ("xview2", "Run xview2 label.")):
        with click.Context(click.Command("label"), click.Context(click.Group(), info_name=program), "label").scope():
            assert as_called("Run kedro label.") == expected


def leaves(group: click.Group, *parents: str) -> list[list[str]]:
    context, paths = click.Context(group), []
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        paths += leaves(child, *parents, name) if isinstance(child, click.Group) else [[*parents, name]]
    return paths


@pytest.mark.slow
def test_the_help_of_every_command_names_the_program() -> None:
    """Includes options and commands that are imported lazily."""
    paths = leaves(commands)
    assert {path[0] for path in paths} == set(IN_ANY_FOLDER)
    assert ["model", "verify"] in paths
    for path in paths:
        words = CliRunner().invoke(commands, [*path, "--help"]).output.split()
        example = ["xview2", *path]
        assert any(words[at : at + len(example)] == example for at in range(len(words)))
        after = {words[at + 1] for at, word in enumerate(words[:-1]) if word.strip("`") == "kedro"}
        assert after <= {"run"}, path


@pytest.mark.slow
def test_help_imports_nothing_that_takes_seconds(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []


def test_the_table_of_a_group_lists_all_of_its_commands() -> None:
    for path in ([], ["model"]):
        group = commands.get_command(click.Context(commands), *path) if path else commands
        assert isinstance(group, CommandTable)
        table = CliRunner().invoke(commands, [*path, "--help"]).output.partition("Commands:")[2]
        listed = [line.split()[0] for line in table.splitlines() if line.strip()]
        assert sorted(listed) == sorted(group.list_commands(click.Context(group)))
