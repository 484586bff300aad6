"""Cohen's kappa against published numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.labelling.agreement import kappa


def labels(codes: list[int | None], first: int = 0) -> pd.DataFrame:
    ids = [str(first + number) for number in range(len(codes))]
    return pd.DataFrame({"building_id": ids, "damage": pd.array(codes, dtype="Int8")})


def test_kappa_of_the_textbook_example() -> None:
    """50 grant proposals, 20 and 15 equal, 5 and 10 unequal: 0.4, as in textbooks."""
    one = labels([1] * 25 + [4] * 25)
    other = labels([1] * 20 + [4] * 5 + [1] * 10 + [4] * 15)
    result = kappa(one, other)
    assert result.kappa == pytest.approx(0.4)
    assert (result.agreement, result.labels) == (0.7, 50)
    assert result.confusion.loc["no-damage", "destroyed"] == 5
    assert result.confusion.loc["destroyed", "no-damage"] == 10


def test_kappa_follows_its_definition_with_every_class(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(3)
    one = [None if code == 5 else int(code) for code in rng.integers(0, 6, 200)]
    other = [code if rng.random() < 0.6 else int(rng.integers(1, 5)) for code in one]
    equal = sum(a == b for a, b in zip(one, other, strict=True)) / 200
    chance = sum(one.count(code) * other.count(code) for code in (None, 0, 1, 2, 3, 4)) / 200**2
    result = kappa(labels(one).sample(frac=1, random_state=1), pd.concat([labels(other), labels([1], 900)]))
    assert result.kappa == pytest.approx((equal - chance) / (1 - chance))
    assert result.confusion.to_numpy().sum() == result.labels == 200
    assert list(result.confusion.index[-2:]) == ["no-building", "cannot-tell"]
    assert result.confusion.loc["no-building", "no-building"] == sum(
        a == b == 0 for a, b in zip(one, other, strict=True)
    )
    assert caplog.messages == ["1 labels are of buildings that only one of the labellers has labelled"]


def test_kappa_of_equal_labels_of_one_class_and_of_no_common_building() -> None:
    assert kappa(labels([1, 2, 3]), labels([1, 2, 3])).kappa == 1
    assert math.isnan(kappa(labels([1, 1]), labels([1, 1])).kappa)
    with pytest.raises(DataError, match="no building in common"):
        kappa(labels([1]), labels([1], 5))
