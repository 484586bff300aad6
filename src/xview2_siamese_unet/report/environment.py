"""What turns templates into pages."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def escaping_environment() -> Environment:
    """Return one in which everything that is put in is escaped, and nothing may be missing."""
    return Environment(
        loader=PackageLoader("xview2_siamese_unet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
