"""What a dataset says when it has taken over finished work."""

from __future__ import annotations

import logging


def say(logger: str, what: str, *, made: int, reused: int) -> None:
    """Log how many scenes were made and how many were still valid."""
    logging.getLogger(logger).info("%s: %d scenes made, %d still valid and reused", what, made, reused)
