"""`python -m xview2_siamese_unet`: `kedro run` of the installed package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project

from xview2_siamese_unet.cli import exit_with_error


def main(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    """Run pipelines with the options of `kedro run`, among them `--conf-source`."""
    package = Path(__file__).parent.name
    configure_project(package)
    kwargs.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    try:
        return find_run_command(package)(*args, **kwargs)
    except Exception as error:
        if kwargs["standalone_mode"]:
            exit_with_error(error)
        raise


if __name__ == "__main__":
    main()
