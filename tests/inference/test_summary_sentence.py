"""The sentence of a summary: its numbers are those of the buildings, counted one by one."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.inference.summary import Tally, sentence, summary_numbers

LABELS = ["no-damage", "minor-damage", "major-damage", "destroyed"]


def sentence_of(rows: pd.DataFrame) -> str:
    tally = Tally().add(rows, ["E0N0"] * len(rows))
    return sentence(summary_numbers(tally.table()) | {"reasons": tally.reasons})


def buildings(**counts: int) -> pd.DataFrame:
    """Return so many buildings of each class, `uncertain` ones, and hidden ones by their reason."""
    rows = []
    for kind, count in counts.items():
        label = kind.replace("_", "-")
        status = "assessed" if label in LABELS else "abstained" if kind == "uncertain" else "not_assessed"
        row = {"status": status, "reason": None, "damage_label": label}
        if status != "assessed":
            row |= {"reason": kind.replace("_", " "), "damage_label": None}
        rows += [row] * count
    return pd.DataFrame(rows, columns=["status", "reason", "damage_label"])


def numbers_in(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_counted_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    status = rng.choice(["assessed", "abstained", "not_assessed"], 3000, p=[0.6, 0.1, 0.3])
    label = np.where(status == "assessed", rng.choice(LABELS, 3000), None)
    reason = np.where(status == "assessed", None, rng.choice(["obscured", "no images"], 3000, p=[0.7, 0.3]))
    rows = pd.DataFrame({"status": status, "reason": reason, "damage_label": label})
    every = visible = damaged = destroyed = uncertain = obscured = without = 0
    for one in rows.itertuples():
        every += 1
        visible += one.status != "not_assessed"
        damaged += one.damage_label in ("minor-damage", "major-damage", "destroyed")
        destroyed += one.damage_label == "destroyed"
        uncertain += one.status == "abstained"
        obscured += one.status == "not_assessed" and one.reason == "obscured"
        without += one.status == "not_assessed" and one.reason == "no images"
    share = float(f"{100 * damaged / visible:.1f}")
    expected = [every, visible, damaged, share, destroyed, uncertain, every - visible, obscured, without]
    assert numbers_in(sentence_of(rows)) == expected


def test_kinds_without_buildings_are_left_out() -> None:
    text = sentence_of(buildings(no_damage=3, destroyed=1))
    assert numbers_in(text) == [4, 4, 1, 25.0, 1]
    assert "predicted" in text
    assert "interval" not in text
    assert numbers_in(sentence_of(buildings(no_damage=1, obscured=1))) == [2, 1, 0, 0.0, 0, 1, 1]


def test_the_share_is_rounded_once() -> None:
    """4 of 21 is 19.048 %: rounded to 19.05 % and then again, it would be 19.1 %."""
    assert numbers_in(sentence_of(buildings(no_damage=17, minor_damage=4)))[3] == 19.0


def test_without_a_model_the_sentence_does_not_mention_damage() -> None:
    text = sentence_of(buildings(no_model=2, no_images=1))
    assert numbers_in(text) == [3, 2, 1]
    assert "damaged" not in text
    assert "visible" not in text
    assert not numbers_in(sentence_of(buildings()))


def test_a_count_of_one_is_singular() -> None:
    text = sentence_of(buildings(minor_damage=1, uncertain=1, obscured=1))
    assert re.search(
        "2 are visible; 1 of these .* is predicted .* 1 has no predicted class; 1 more was not assessed", text
    )
