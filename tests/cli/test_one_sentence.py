"""A mistake of the user ends in one sentence on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import TracebackType

import pytest
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError

from xview2_siamese_unet.cli import cli, run, say_in_one_sentence
from xview2_siamese_unet.errors import ConfigError

OURS = ConfigError("conf", found="x", allowed="y", remedy="write y")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error as an excepthook gets it: raised, from a cause if there is one."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


class Otherwise:
    """Stands in for Python's own hook and counts its calls."""

    def __init__(self) -> None:
        self.seen: list[BaseException] = []

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.seen.append(error)


@pytest.fixture
def otherwise() -> Iterator[Otherwise]:
    logger = logging.getLogger("xview2_siamese_unet")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield Otherwise()
    logger.setLevel(level)


def show(error: BaseException, otherwise: Otherwise) -> None:
    say_in_one_sentence(otherwise)(type(error), error, error.__traceback__)


@pytest.mark.parametrize(
    "error",
    [
        raised(OURS),
        raised(DatasetError("Failed while loading data"), OURS),
        raised(DatasetError("outer"), raised(DatasetError("inner"), OURS)),
    ],
)
def test_our_error_anywhere_in_the_chain_is_the_only_line(
    error: BaseException, otherwise: Otherwise, capsys: pytest.CaptureFixture[str]
) -> None:
    show(error, otherwise)
    assert capsys.readouterr() == ("", f"{OURS}\n")
    assert not otherwise.seen


def test_an_error_raised_while_ours_was_handled_counts_unless_ours_was_dismissed(
    otherwise: Otherwise, capsys: pytest.CaptureFixture[str]
) -> None:
    during, dismissed = KeyError("a"), KeyError("b")
    during.__context__ = dismissed.__context__ = OURS
    dismissed.__suppress_context__ = True
    show(during, otherwise)
    show(dismissed, otherwise)
    assert capsys.readouterr().err == f"{OURS}\n"
    assert otherwise.seen == [dismissed]


def test_a_defect_of_the_program_keeps_its_traceback(otherwise: Otherwise, capsys: pytest.CaptureFixture[str]) -> None:
    defect = raised(DatasetError("x"), ZeroDivisionError())
    show(defect, otherwise)
    assert otherwise.seen == [defect]
    assert capsys.readouterr().err == ""


def test_debug_and_verbose_show_the_traceback(otherwise: Otherwise, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(KedroCliError, "VERBOSE_ERROR", True)
        show(OURS, otherwise)
    logging.getLogger("xview2_siamese_unet").setLevel(logging.DEBUG)
    show(OURS, otherwise)
    assert otherwise.seen == [OURS, OURS]


def test_importing_the_commands_installs_the_sentence() -> None:
    assert sys.excepthook.__qualname__ == "say_in_one_sentence.<locals>.hook"


def test_run_is_kedros_own_with_all_its_options() -> None:
    assert run is kedro_run
    assert "run" not in cli.commands
