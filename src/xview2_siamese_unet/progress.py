"""Progress: a bar on a terminal, log lines without one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
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


def track(what: str, total: int, parts: Iterable[Item]) -> Iterator[Item]:
    """Yield `parts` and show progress.

    Args:
        what: a noun, such as `scenes packed`.
        total: number of parts.
        parts: the parts.
    """
    console = Console(stderr=True)
    if not is_watched(console):
        yield from _log_progress(what, total, parts)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield from bar.track(parts, total=total)


def is_watched(console: Console) -> bool:
    """Return whether to show progress bars: on a terminal, unless the log level is above INFO."""
    return console.is_terminal and logging.getLogger(__package__).isEnabledFor(logging.INFO)


def _log_progress(what: str, total: int, parts: Iterable[Item]) -> Iterator[Item]:
    """Log finished parts and remaining time, at most once in `SILENCE` seconds."""
    started = logged = time.monotonic()
    for done, part in enumerate(parts, start=1):
        yield part
        now = time.monotonic()
        if now - logged >= SILENCE:
            logged = now
            left = (now - started) / done * (total - done)
            _log.info("%s: %d of %d, about %.0f s to go", what, done, total, left)


class _Rate(ProgressColumn):
    """Parts per second."""

    def render(self, task: Task) -> Text:
        """Return the speed if it is known."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
