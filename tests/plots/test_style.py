from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.plots.style import compact, percent


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (940, "940"),
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (999_400, "999k"),
        (1_234_567_890, "1.23G"),
    ],
)
def test_compact(count: int, text: str) -> None:
    assert compact(count) == text


@given(st.integers(1, 10**11))
def test_compact_stays_within_half_a_percent(count: int) -> None:
    text = compact(count)
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1)
    assert float(text.rstrip("kMG")) * scale == pytest.approx(count, rel=5.1e-3)
    assert len(text) <= 5


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "100.0 %"), (0.123, "12.3 %"), (0.0004, "0.04 %"), (1e-7, "< 0.01 %")]
)
def test_percent_never_rounds_something_to_nothing(share: float, text: str) -> None:
    assert percent(share) == text
