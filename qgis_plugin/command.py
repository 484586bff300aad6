"""Find and run the installed command `xview2`, without QGIS."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread
from typing import IO, NamedTuple

COMMAND = "xview2"
OLDEST = (0, 2)
"""Oldest version of the command that has all options of the algorithms."""
_INSTALL = "uv tool install '.[onnx]'"  # as in docs/install.md
PATIENCE = 3.0
"""Seconds from SIGINT to SIGKILL."""
_POLL = 0.1
_NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows only: opens no console
# QGIS sets these for its own Python and libraries; the command uses others.
_OF_QGIS = ("PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")
# Columns of the terminal, so that log messages of the command are not wrapped.
_WIDTH = "10000"
_LOGGED = re.compile(r"(?:\[[^\]]*\])?\s+(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+(.*)")
_STEP = re.compile(r"(\d+) of (\d+): \S+")
_PART = re.compile(r".+: (\d+) of (\d+), about \d+ s to go")

Value = str | int | Sequence[str] | None


class CommandError(Exception):
    """The command is missing, too old, or failed; the message is for the user."""


class Canceled(Exception):  # noqa: N818  no error
    """The user stopped the command."""


class Line(NamedTuple):
    """A line on stderr.

    Attributes:
        level: of a log message, such as `WARNING`; empty for other lines.
        text: without time and level.
    """

    level: str
    text: str


def find_command(setting: str) -> str:
    """Return the path of `xview2`: the setting, or the command on PATH if it is empty."""
    path = shutil.which(os.path.expanduser(setting) or COMMAND)  # noqa: PTH111  Path("") is "."
    if path is None:
        missing = f"{setting} is not a program" if setting else "The command xview2 is not on PATH"
        raise CommandError(
            f"{missing}: install xview2 with `{_INSTALL}` in a clone of its repository, then set the path of the "
            "command in Settings > Options > Processing > Providers."
        )
    return path


def require_version(path: str) -> None:
    """Refuse a command that is older than `OLDEST`."""
    _check_version(path, Path(path).stat().st_mtime_ns)


@cache  # a batch checks it for each row, and the command takes seconds to start
def _check_version(path: str, _changed: int) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(),
            creationflags=_NO_WINDOW,
            check=False,
        )
    except OSError as error:
        raise CommandError(f"{path} cannot be run: {error.strerror}. Install xview2 again.") from error
    found = re.search(rb"version (\d+)\.(\d+)", done.stdout)
    oldest = ".".join(map(str, OLDEST))
    if done.returncode or found is None:
        raise CommandError(f"{path} --version prints no version of xview2. Set the path of xview2 {oldest} or newer.")
    major, minor = map(int, found.groups())
    if (major, minor) < OLDEST:
        raise CommandError(f"{path} is version {major}.{minor}. Install xview2 {oldest} or newer.")


def environment() -> dict[str, str]:
    """Return the environment of the command: that of QGIS, without its Python and libraries."""
    ours = {name: value for name, value in os.environ.items() if name not in _OF_QGIS}
    return {**ours, "COLUMNS": _WIDTH, "PYTHONIOENCODING": "utf-8"}


def command_line(path: str, name: str, arguments: Sequence[str], options: Mapping[str, Value]) -> list[str]:
    """Return the command line.

    Args:
        path: of `xview2`.
        name: of its command, such as `assess`.
        arguments: positional arguments.
        options: name → value: `True` for a flag, a list for a repeated option; empty values are left out.
    """
    words = [path, name]
    for option, value in options.items():
        if isinstance(value, bool):
            words += [f"--{option}"] if value else []
        elif isinstance(value, str | int):
            words += [f"--{option}={value}"] if value != "" else []
        else:
            words += [f"--{option}={each}" for each in value or ()]
    return [*words, "--", *arguments]  # paths may begin with "-"


def read_line(text: str) -> Line:
    """Split a line of the log."""
    logged = _LOGGED.match(text)
    return Line(logged[1], logged[2].rstrip()) if logged else Line("", text.strip())


class Progress:
    """Progress of a command, from the log of its steps and of the parts of a step."""

    def __init__(self) -> None:
        self._step, self._steps = 1, 1

    def update(self, text: str) -> float | None:
        """Return percent, `None` if the message reports no progress."""
        done = 0.0
        if step := _STEP.fullmatch(text):
            self._step, self._steps = int(step[1]), int(step[2])
        elif part := _PART.fullmatch(text):
            done = int(part[1]) / int(part[2])
        else:
            return None
        return 100 * (self._step - 1 + done) / self._steps


def run(command: Sequence[str], show: Callable[[Line], None], is_canceled: Callable[[], bool]) -> str:
    """Run a command to its end and return what it printed on stdout.

    Args:
        command: program and arguments.
        show: gets each line on stderr.
        is_canceled: is asked ten times a second.

    Raises:
        Canceled: the command and its children were terminated.
        CommandError: the last line on stderr of a command that failed.
    """
    last = ""

    def keep(line: Line) -> None:
        nonlocal last
        show(line)
        last = line.text or last

    with tempfile.TemporaryFile() as results:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=results,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment(),
            start_new_session=True,  # a process group that includes the children
            creationflags=_NO_WINDOW,
        )
        try:
            _follow(process, keep, is_canceled)
        except BaseException:
            _end(process)
            raise
        if process.returncode < 0:
            name = signal.Signals(-process.returncode).name
            raise CommandError(f"{command[0]} was killed by {name}, probably out of memory. Run it again to resume.")
        if process.returncode:
            raise CommandError(last or f"{command[0]} ended with status {process.returncode} and no message.")
        results.seek(0)
        return results.read().decode("utf-8", "replace")


def _follow(process: subprocess.Popen[str], show: Callable[[Line], None], is_canceled: Callable[[], bool]) -> None:
    """Show lines until the command and its children have closed stderr."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    Thread(target=_read, args=(process.stderr, lines), daemon=True).start()
    while not is_canceled():
        with suppress(queue.Empty):
            line = lines.get(timeout=_POLL)
            if line is None:
                process.wait()
                return
            show(read_line(line))
    raise Canceled


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """Terminate a command and its children: with SIGINT, then SIGKILL; on Windows, by force."""
    if sys.platform == "win32":  # has no process groups
        subprocess.run(["taskkill", "/PID", str(process.pid), "/T", "/F"], capture_output=True, check=False)  # noqa: S603, S607
    else:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
