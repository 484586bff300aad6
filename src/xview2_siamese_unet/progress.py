"""A progress bar with rate and remaining time, where somebody watches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Item = TypeVar("Item")


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on the terminal; yields what to call after each part.

    Args:
        what: a noun, such as `scenes packed`.
        total: parts there are.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not is_watched(console)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def track(what: str, total: int, parts: Iterable[Item]) -> Iterator[Item]:
    """Yield `parts` under a bar."""
    with progress(what, total) as advance:
        for part in parts:
            yield part
            advance()


def is_watched(console: Console) -> bool:
    """Return whether a bar makes sense: on a terminal, unless the user asked for quiet."""
    return console.is_terminal and logging.getLogger(__package__).isEnabledFor(logging.INFO)


class _Rate(ProgressColumn):
    """Parts a second."""

    def render(self, task: Task) -> Text:
        """Return the speed, once there is one."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
