from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS
from xview2_siamese_unet.report.comparison import (
    Experiment,
    compare,
    comparison_tables,
    difference,
    differing_settings,
    render_comparison,
    scores_with_intervals,
)

HOSTILE = "<script>alert(1)</script>[bold]"


def experiment(name: str, hits: int, scenes: int = 30, **settings: str) -> Experiment:
    """Return scenes with 100 pixels of each class, about `hits` of them correct, varying by scene."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(0, index=range(scenes), columns=COUNT_COLUMNS)
    for code in (1, 2, 3, 4):
        right = hits + rng.integers(-10, 10, scenes)
        table[f"damage_{code}_{code}"], table[f"damage_{code}_0"] = right, 100 - right
        table["localization_1_1"] += right
        table["localization_1_0"] += 100 - right
    return Experiment(name, table.assign(scene=[f"s{n}" for n in range(scenes)]), "ignore", settings)


def test_a_better_experiment_is_significantly_better_and_an_equal_one_is_not() -> None:
    one, two = experiment("a/1", 50), experiment("a/2", 60)
    found = difference(one, two)
    scores = [scores_with_intervals(each)["score"].value for each in (one, two)]
    assert found.numbers["score"].value == pytest.approx(scores[1] - scores[0], abs=1e-12)
    assert found.numbers["score"].low <= found.numbers["score"].value <= found.numbers["score"].high
    assert all(number.significant for number in found.numbers.values())
    assert not any(number.significant for number in difference(one, one).numbers.values())


def test_only_common_scenes_are_compared() -> None:
    one, two = experiment("a/1", 50, scenes=30), experiment("a/2", 60, scenes=20)
    found = difference(one, two)
    assert found.scenes == 20
    shared = experiment("a/1", 50, scenes=30).counts[:20]
    assert found.scores[0]["score"] == scores_with_intervals(Experiment("x", shared, "ignore", {}))["score"].value
    assert found.scores[1]["score"] == scores_with_intervals(two)["score"].value
    other = Experiment("a/3", two.counts.assign(scene="elsewhere"), "ignore", {})
    with pytest.raises(DataError, match=r"^a/1 and a/3 have no scored scene in common"):
        difference(one, other)


def test_comparing_no_experiment_is_an_error() -> None:
    with pytest.raises(DataError, match="no experiment"):
        compare([])


def test_scenes_with_the_largest_gains_and_losses_are_listed() -> None:
    one, two = experiment("a/1", 50), experiment("a/2", 50)
    for scene, change in ((3, 20), (7, -30)):
        two.counts.loc[scene, "damage_4_4"] += change
        two.counts.loc[scene, "damage_4_0"] -= change
    changed = difference(one, two, shown=2).changed
    assert changed.index.tolist() == ["s3", "s7"]
    assert changed["change"].iloc[0] > 0 > changed["change"].iloc[1]
    assert (changed["after"] - changed["before"]).tolist() == changed["change"].tolist()


def test_settings_that_differ_are_listed_without_labels() -> None:
    one = experiment("a/1", 50, seed="0", rate="0.1", **{"reporting.model_file": "1.pth"})
    two = experiment("a/2", 50, seed="0", rate="0.2", extra="x", **{"reporting.model_file": "2.pth"})
    assert differing_settings([one, two]) == {"rate": ["0.1", "0.2"], "extra": [None, "x"]}


def test_page_and_terminal_show_the_same_and_escape_names_and_notes() -> None:
    one, two = experiment("a/1", 50, rate="1"), experiment(HOSTILE, 60, rate=HOSTILE)
    two.counts.loc[0, "scene"] = one.counts.loc[0, "scene"] = HOSTILE
    compared = compare([one, two], note=HOSTILE)
    page = render_comparison(compared)
    console = Console(width=200, file=io.StringIO())
    console.print(comparison_tables(compared))
    text = console.file.getvalue()
    for key in ("score", "damage_f1"):
        number = compared.differences[HOSTILE].numbers[key]
        both = "".join(f"<td>{scores[key]:.3f}</td>" for scores in compared.differences[HOSTILE].scores)
        assert f"{both}<td>{number.value:+.3f}</td><td>{number.low:+.3f} to {number.high:+.3f}</td><td>yes</td>" in page
        assert f"{number.low:+.3f} to {number.high:+.3f}" in text
    assert "<script" not in page
    assert "alert(1)&lt;/script&gt;[bold]" in page
    assert HOSTILE in text
    assert "://" not in page
    assert '<p class="note">&lt;script&gt;' in page


def test_equal_settings_are_stated() -> None:
    page = render_comparison(compare([experiment("a/1", 50, x="1"), experiment("a/2", 50, x="1")]))
    assert "<p>None.</p>" in page
