"""The functions that `import xview2_siamese_unet` gives to Python and notebooks."""

from __future__ import annotations

import pytest

import xview2_siamese_unet as xview2
from xview2_siamese_unet.assessment import assess


def test_every_listed_function_is_there() -> None:
    assert {name for name in xview2.__all__ if not callable(getattr(xview2, name))} == set()
    assert xview2.assess is assess


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'asess'"):
        xview2.asess  # noqa: B018
