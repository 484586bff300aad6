"""Progress: a bar on a terminal, log lines without one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Item = TypeVar("Item")
STDERR: Final = Console(stderr=True)
"""Console of logs, warnings and bars."""
SILENCE: Final = 30.0
"""Seconds between two log lines."""
_log = logging.getLogger(__name__)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show progress; yields a function to call after each part.

    Args:
        what: a noun, such as `scenes packed`.
        total: number of parts.
    """
    console = Console(stderr=True)
    if not is_watched(console):
        yield _Lines(what, total).advance
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def track(what: str, total: int, parts: Iterable[Item]) -> Iterator[Item]:
    """Yield `parts` and show progress."""
    with progress(what, total) as advance:
        for part in parts:
            yield part
            advance()


def is_watched(console: Console) -> bool:
    """Return whether to draw bars: on a terminal, unless the user asked for quiet."""
    return console.is_terminal and logging.getLogger(__package__).isEnabledFor(logging.INFO)


class _Lines:
    """Log lines of finished parts and remaining time, at most one per `SILENCE` seconds."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._started = self._logged = time.monotonic()

    def advance(self) -> None:
        """Count a part."""
        self._done += 1
        now = time.monotonic()
        if now - self._logged >= SILENCE:
            self._logged = now
            left = (now - self._started) / self._done * (self._total - self._done)
            _log.info("%s: %d of %d, about %.0f s to go", self._what, self._done, self._total, left)


class _Rate(ProgressColumn):
    """Parts per second."""

    def render(self, task: Task) -> Text:
        """Return the speed if it is known."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
