"""What a training run says, and where."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.warnings import PossibleUserWarning


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append what this package logs to a file as long as the block lasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("xview2_siamese_unet")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's tips and its advice on numbers of workers and log intervals, which are parameters here.

    And what torch says to Lightning: a deprecated name that Lightning uses is nothing that whoever trains can change.
    """
    library = logging.getLogger("lightning.pytorch")
    before = library.level
    library.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            # Its successor is younger than the oldest torch that we take.
            warnings.filterwarnings("ignore", ".*`broadcast_buffers` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "Checkpoint directory .* is not empty")  # a run that goes on
            yield
    finally:
        library.setLevel(before)
