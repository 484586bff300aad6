"""A user error is one sentence on stderr."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.cli import cli, exit_with_error, run, sentence_of
from xview2_siamese_unet.errors import ConfigError

OURS = ConfigError("The key x is wrong.", hint="Write y.")


def raised(error: Exception, cause: BaseException | None = None) -> Exception:
    """Raise an error, from a cause if there is one, and return it as caught."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        raised(OURS),
        raised(DatasetError("Failed while loading data"), OURS),
        raised(DatasetError("outer"), raised(DatasetError("inner"), OURS)),
    ],
)
def test_our_error_anywhere_in_the_chain_is_the_only_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with_error(error)
    assert end.value.code == 1
    assert capsys.readouterr() == ("", f"{OURS}\n")


def test_an_error_in_the_context_counts_unless_suppressed() -> None:
    during, dismissed = raised(KeyError("a")), raised(KeyError("b"))
    during.__context__ = dismissed.__context__ = OURS
    during.__suppress_context__, dismissed.__suppress_context__ = False, True
    assert sentence_of(during) == str(OURS)
    assert sentence_of(dismissed) is None


@pytest.mark.parametrize(
    ("module", "needed_for", "install"),
    [
        ("torch.nn", "checkpoints, training and features other than random", "pip install xview2_siamese_unet"),
        ("onnxruntime", "ONNX networks", "uv sync --extra onnx"),
        ("dask_jobqueue", "executor.kind: dask", "uv sync --extra cluster"),
    ],
)
def test_a_package_that_is_not_installed_is_explained_in_a_sentence(module: str, needed_for: str, install: str) -> None:
    error = raised(DatasetError("outer"), ModuleNotFoundError(f"No module named {module!r}", name=module))
    sentence = sentence_of(error)
    assert sentence is not None
    assert sentence.startswith(f"The package {module} is not installed. It is needed for {needed_for}. Install it: ")
    assert install in sentence


def test_any_other_missing_module_is_a_bug() -> None:
    assert sentence_of(raised(ModuleNotFoundError("No module named 'x'", name="x"))) is None


@pytest.mark.parametrize(
    ("path", "pipeline"),
    [
        ("data/02_intermediate/sample/scenes.parquet", "data_processing"),
        ("data/04_feature/a/b/class_weights.json", "feature_statistics"),
        ("data/06_models/a/b/logfiles/history.csv", "modelling"),
        ("data/08_reporting/a/b/metrics.json", "reporting"),
    ],
)
def test_a_missing_file_names_the_pipeline_that_makes_it(path: str, pipeline: str) -> None:
    error = raised(DatasetError("Failed while loading data"), FileNotFoundError(2, "No such file", path))
    assert sentence_of(error) == (
        f"{path} does not exist. Run kedro run --pipelines {pipeline} first, or together with this."
    )


def test_an_error_of_kedro_before_the_run_is_its_own_sentence() -> None:
    with pytest.raises(ValueError, match="trainn") as caught:
        Pipeline([Node(lambda: 1, None, "x", name="train")]).filter(node_names=["trainn"])
    assert sentence_of(caught.value) == "Pipeline does not contain nodes named ['trainn']."


@pytest.mark.parametrize("error", [raised(DatasetError("x"), ZeroDivisionError()), raised(ValueError("of a node"))])
def test_a_bug_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    exit_with_error(error)
    assert capsys.readouterr().err == ""


def test_debug_and_verbose_show_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(KedroCliError, "VERBOSE_ERROR", True)
        exit_with_error(OURS)
    with caplog.at_level(logging.DEBUG, "xview2_siamese_unet"):
        exit_with_error(OURS)
    assert capsys.readouterr().err == ""


def test_importing_the_commands_patches_nothing() -> None:
    script = """
import sys
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import KedroCliError
before = sys.excepthook, KedroCliError.show, run.callback, list(run.params)
import xview2_siamese_unet.cli
assert before == (sys.excepthook, KedroCliError.show, run.callback, list(run.params))
"""
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603


def test_run_has_all_options_of_kedro() -> None:
    assert run.params[: len(kedro_run.params)] == kedro_run.params
    assert cli.commands["run"] is run


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--async"], "--async does not work"), (["--load-versions", "metrics:1"], "no dataset is versioned")],
)
def test_options_without_effect_are_refused(options: list[str], sentence: str) -> None:
    assert sentence in str(CliRunner().invoke(run, options).exception)


@pytest.mark.parametrize(
    ("options", "refused"),
    [([], True), (["--pipelines", "modelling,reporting"], True), (["--pipelines", "modelling"], False)],
)
def test_several_processes_only_train(
    launch: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch, options: list[str], refused: bool
) -> None:
    launch(1, 2)
    monkeypatch.setattr(kedro_run, "callback", lambda **_: None)
    error = str(CliRunner().invoke(run, options).exception)
    assert ("2 processes, but only modelling" in error) is refused
