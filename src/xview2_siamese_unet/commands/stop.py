"""How a command ends that somebody stops with Ctrl-C: with the code that shells and schedulers know."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

STOPPED: Final = 128 + signal.SIGINT
_log = logging.getLogger(__name__)


def let_stop(command: click.Command) -> click.Command:
    """Let Ctrl-C end a command with 130, and all commands of a group."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            let_stop(each)
    elif command.callback is not None:
        command.callback = _stoppable(command.callback)
    return command


def _stoppable(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def stoppable(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        try:
            return call(*args, **options)
        except KeyboardInterrupt as stop:
            _log.warning("stopped by SIGINT")
            raise SystemExit(STOPPED) from stop
        except SystemExit as end:
            # Lightning makes an exit with 1 of Ctrl-C in training, which looks like a failure.
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            _log.warning("stopped by SIGINT; the same command goes on after the last whole epoch")
            raise SystemExit(STOPPED) from end

    return stoppable
