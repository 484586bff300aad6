"""Parts of the QGIS plugin that need no QGIS: find, start, follow and end the command."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import time
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from qgis_plugin.command import (
    Canceled,
    CommandError,
    Line,
    Progress,
    command_line,
    find_command,
    read_line,
    require_version,
    run,
)
from rich.console import Console
from rich.logging import RichHandler

from qgis_plugin import command
from xview2_siamese_unet import __version__, progress

pytestmark = pytest.mark.unix


def write_program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def ended(pid: int) -> bool:
    """Return whether a process has ended, even if its status has not been read yet."""
    for _ in range(100):
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_the_setting_takes_precedence_over_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    on_path = write_program(tmp_path / "bin" / "xview2", "")
    chosen = write_program(tmp_path / "mine", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_command("") == on_path
    assert find_command(chosen) == chosen
    assert find_command("~/mine") == chosen


@pytest.mark.parametrize("setting", ["", "no-program"])
def test_the_error_for_a_missing_command_shows_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_path: Path, setting: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "no-program").write_text("")
    with pytest.raises(CommandError, match=setting or "xview2 is not on PATH") as error:
        find_command(setting and str(tmp_path / setting))
    message = str(error.value)
    (typed,) = re.findall("`(.*)`", message)
    install = (project_path / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"| assess images of a new disaster | `{typed}` |" in install
    assert re.findall(r"\. ", message.replace(str(tmp_path), "")) == []
    assert message.endswith(".")
    assert "Settings > Options > Processing > Providers" in message


@pytest.mark.parametrize(
    ("printed", "error"),
    [
        ("echo xview2, version 0.1.9", r"is version 0\.1\. Install xview2 0\.2 or newer"),
        ("echo xview2, version 0.2.0", None),
        ("echo xview2, version 0.10.3", None),
        ("echo xview2, version 1.0.0rc1", None),
        ("echo something else", "prints no version of xview2"),
        ("echo xview2, version 1.0.0; exit 1", "prints no version of xview2"),
    ],
)
def test_an_old_command_is_refused(tmp_path: Path, printed: str, error: str | None) -> None:
    path = write_program(tmp_path / "xview2", printed)
    if error is None:
        require_version(path)
    else:
        with pytest.raises(CommandError, match=error):
            require_version(path)


def test_a_broken_command_is_refused(tmp_path: Path) -> None:
    path = write_program(tmp_path / "xview2", "")
    Path(path).write_text("#!/nowhere/python\n", encoding="utf-8")
    with pytest.raises(CommandError, match="cannot be run: No such file or directory"):
        require_version(path)


def test_the_version_is_read_again_only_if_the_command_changes(tmp_path: Path) -> None:
    path = write_program(tmp_path / "xview2", f"echo >> {tmp_path / 'calls'}; echo xview2, version 0.2.0")
    require_version(path)
    require_version(path)
    assert (tmp_path / "calls").read_text() == "\n"
    os.utime(path, (1, 1))
    require_version(path)
    assert (tmp_path / "calls").read_text() == "\n\n"


def test_the_command_line_accepts_any_path_and_omits_empty_options() -> None:
    options = {
        "out": "-o ut;$(x)",
        "mask": ["a.tif", "b.tif"],
        "count": 0,
        "zones": None,
        "aoi": "",
        "overwrite": False,
    }
    built = command_line("/bin/xview2", "assess", ["-pre.tif", "post.tif"], {**options, "check": True})
    assert built == [
        *("/bin/xview2", "assess", "--out=-o ut;$(x)", "--mask=a.tif", "--mask=b.tif", "--count=0", "--check"),
        *("--", "-pre.tif", "post.tif"),
    ]


def test_the_environment_of_the_command_excludes_variables_of_qgis(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH", "PROJ_LIB", "GDAL_DATA"):
        monkeypatch.setenv(name, "/of/qgis")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    program = "import os; print([*os.environ.values()].count('/of/qgis'), os.environ['CUDA_VISIBLE_DEVICES'])"
    assert run([sys.executable, "-S", "-c", program], print, lambda: False) == "0 1\n"


def test_log_lines_of_the_command_are_parsed() -> None:
    written = io.StringIO()
    handler = RichHandler(console=Console(file=written, width=int(command._WIDTH)), show_path=False)
    long = "shifted by 0.9 pixels; " * 40
    for level, text in ((logging.INFO, "3 of 12: vote"), (logging.WARNING, long + "[end]")):
        handler.emit(logging.LogRecord("any", level, "", 0, text, None, None))
    lines = [read_line(line) for line in [*written.getvalue().splitlines(), "a.tif: no such file. Check the path.\n"]]
    assert lines == [
        Line("INFO", "3 of 12: vote"),
        Line("WARNING", long + "[end]"),
        Line("", "a.tif: no such file. Check the path."),
    ]


def test_progress_is_computed_from_steps_and_their_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SILENCE", 0)
    with caplog.at_level(logging.INFO):
        list(progress.track("rows assessed", 4, range(4)))
    done = Progress()
    assert [done.update(text) for text in caplog.messages] == [25, 50, 75, 100]
    assert done.update("3 of 5: predict_raster") == 40
    assert [done.update(text) for text in caplog.messages] == pytest.approx([45, 50, 55, 60])
    assert done.update("grid: 768 × 768 pixels of 0.474 m") is None


def test_run_shows_stderr_and_returns_stdout() -> None:
    shown: list[Line] = []
    program = "import sys; print('ä ' * 99_999); print('one\\n\\ntwo', file=sys.stderr)"
    assert run([sys.executable, "-S", "-c", program], shown.append, lambda: False) == "ä " * 99_999 + "\n"
    assert [line.text for line in shown] == ["one", "", "two"]


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("echo working >&2; echo 'a.tif: no such file. Check the path.' >&2; echo >&2; exit 2", "^a.tif: no such file"),
        ("exit 3", "ended with status 3"),
        ("echo '3 of 12: vote' >&2; kill -9 $$", "killed by SIGKILL, probably out of memory"),
    ],
)
def test_the_error_of_a_failed_command_is_its_last_sentence(tmp_path: Path, program: str, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        run([write_program(tmp_path / "fails", program)], lambda _line: None, lambda: False)


@pytest.mark.parametrize("trap", ["", "trap '' INT;"])
def test_cancel_ends_the_command_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """Processes that ignore SIGINT are also ended."""
    monkeypatch.setattr(command, "PATIENCE", 0.2)
    program = write_program(tmp_path / "runs", f"{trap} sleep 60 & echo $! >&2; echo $$ >&2; wait; sleep 60")
    shown: list[Line] = []
    started = time.monotonic()
    try:
        with pytest.raises(Canceled):
            run([program], shown.append, lambda: len(shown) == 2)
        assert time.monotonic() - started < 3
        assert [ended(int(line.text)) for line in shown] == [True, True]
    finally:
        for line in shown:
            with suppress(ProcessLookupError):
                os.kill(int(line.text), signal.SIGKILL)


def test_cancel_on_windows_ends_the_process_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "taskkill", f'echo "$@" > {tmp_path}/calls; kill -9 "$2"')
    program = write_program(tmp_path / "runs", "echo $$ >&2; exec sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(sys, "platform", "win32")
    shown: list[Line] = []
    with pytest.raises(Canceled):
        run([program], shown.append, lambda: len(shown) == 1)
    assert (tmp_path / "calls").read_text() == f"/PID {shown[0].text} /T /F\n"
    assert ended(int(shown[0].text))


def test_an_error_while_lines_are_shown_ends_the_command(tmp_path: Path) -> None:
    shown: list[Line] = []

    def show(line: Line) -> None:
        shown.append(line)
        raise ValueError(line.text)

    with pytest.raises(ValueError, match=r"^\d+$"):
        run([write_program(tmp_path / "runs", "echo $$ >&2; exec sleep 60")], show, lambda: False)
    assert ended(int(shown[0].text))


def test_the_metadata_has_what_the_plugin_repository_requires(project_path: Path) -> None:
    plugin = project_path / "qgis_plugin"
    metadata = ConfigParser()
    metadata.read(plugin / "metadata.txt", encoding="utf-8")
    general = metadata["general"]
    required = {"name", "qgisMinimumVersion", "description", "about", "version", "author", "hasProcessingProvider"}
    assert {name for name in required if not general[name]} == set()
    assert general["version"] == __version__
    assert general.getboolean("hasProcessingProvider")
    assert (plugin / general["icon"]).is_file()
    assert sum(path.stat().st_size for path in plugin.glob("*.*")) < 100_000  # of at most 200 kB, zipped
    assert tuple(map(int, __version__.split(".")[:2])) >= command.OLDEST
