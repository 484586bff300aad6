from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xview2_siamese_unet.metrics.calibration import CURVES, STEPS
from xview2_siamese_unet.metrics.confusion import DAMAGE_COLUMNS, LOCALIZATION_COLUMNS
from xview2_siamese_unet.metrics.summary import summarise_scores
from xview2_siamese_unet.report.page import (
    CALIBRATION,
    CHARTS,
    LIMITS,
    NAMES,
    provenance_of,
    render_report,
    warnings_of,
)

HOSTILE = """<script>alert("1")</script>'"><img src=x onerror=alert(2)>&amp;{{ 7*7 }}"""

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'></svg>"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 4), (255, 0, 0, 255)).save(buffer, "png")
    return buffer.getvalue()


def metrics(event: str = "socal-fire", split: str = "test", seen: Sequence[str] | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"scene": ["a", "b"], "split": split, "disaster": [event, "b"], "disaster_type": event})
    table[LOCALIZATION_COLUMNS] = rng.integers(1, 1000, (2, 4))
    table[DAMAGE_COLUMNS] = rng.integers(1, 1000, (2, 36))
    codes = rng.integers(0, 6, (200, 2))
    matches = pd.DataFrame(
        {"scene": "a", "truth": codes[:, 0], "predicted": codes[:, 1], "pixels": range(20, 4020, 20)}
    )
    return summarise_scores(table, matches[codes.any(axis=1)], histograms(), training_events=seen)


def histograms() -> pd.DataFrame:
    seen, share = np.random.default_rng(1).random((2, len(CURVES) * STEPS))
    rows = {"curve": np.repeat(CURVES, STEPS), "step": np.tile(np.arange(STEPS), len(CURVES))}
    return pd.DataFrame(rows | {"seen": (1000 * seen).astype(int), "true": (1000 * seen * share).astype(int)})


FIGURES = {name: SVG for name in (*CHARTS, *CALIBRATION)} | {name: png() for name in ("panels", "worst_buildings")}


SETTINGS = {"dataset.source": "xbd"}


def render(**changes: Any) -> str:  # noqa: ANN401
    defaults = {"title": "Title", "metrics": metrics(), "figures": FIGURES, "settings": SETTINGS}
    return render_report(**(defaults | {"provenance": {"code": "1.0"}} | changes))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    return tags


def test_page_is_well_nested_and_loads_nothing() -> None:
    page = render()
    tags = parse(page)
    sources = [attrs["src"] for tag, attrs in tags.seen if tag == "img"]
    assert len(sources) == len(FIGURES)
    assert all(source is not None and source.startswith("data:image/") for source in sources)
    assert {tag for tag, _ in tags.seen}.isdisjoint({"script", "link", "iframe", "object"})
    assert not re.search(r"https?://|url\(|@import", page)


def test_hostile_text_from_any_source_is_escaped() -> None:
    page = render(
        title=HOSTILE,
        metrics=metrics(event=HOSTILE, split=HOSTILE),
        settings=SETTINGS | {HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
    )
    tags = parse(page)
    assert "script" not in {tag for tag, _ in tags.seen}
    assert not [attrs for _, attrs in tags.seen if "onerror" in attrs]
    assert sum(tag == "img" for tag, _ in tags.seen) == len(FIGURES)
    assert page.count("{{ 7*7 }}") >= 10


def test_the_page_shows_the_class_and_event_scores() -> None:
    numbers = metrics()
    page = render(metrics=numbers)
    for name, row in numbers["damage"].items():
        found = re.search(rf"{name}</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", page)
        assert found is not None
        assert found.groups() == (
            *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1", "iou")),
            f"{row['support']:,}",
        )
    for name, row in numbers["events"].items():
        found = re.search(rf'<th scope="row">{name}</th><td>(.*?)</td><td>(.*?)</td>', page)
        assert found is not None
        assert found.groups() == ("1", f"{row['score']:.3f}")
    assert f"<b>{numbers['constant_prediction_score']:.3f}</b>" in page


def test_the_page_shows_the_building_scores() -> None:
    numbers = metrics()["buildings"]
    page = render()
    for name, row in (numbers["sizes"] | numbers["damage"]).items():
        cells = "".join(f"<td>{row[key]:.3f}</td>" for key in ("precision", "recall", "f1"))
        assert f"{name}</th>{cells}<td>{row['support']:,}</td></tr>" in page
    low, high = numbers["f1_interval"]
    assert f"F1 <strong>{numbers['f1']:.3f}</strong> (95 %: {low:.3f} to {high:.3f};" in page


def test_intervals_stand_next_to_their_numbers() -> None:
    numbers = metrics()
    page = render(metrics=numbers)
    for key, words in NAMES.items():
        low, high = numbers["intervals"][key]
        value = f"<td>{numbers[key]:.3f}</td><td>{low:.3f} to {high:.3f}</td>"
        assert f'<th scope="row">{words}</th>{value}' in page
    low, high = numbers["intervals"]["score"]
    assert f'<b>{numbers["score"]:.3f}</b><span class="interval">95 %: {low:.3f} to {high:.3f}</span>' in page
    assert f"<td></td><td>{numbers['macro_over_events']['score']:.3f}</td>" in page


def test_the_score_on_unseen_events_comes_first() -> None:
    both, one = metrics(seen=[]), metrics(seen=["b"])
    page = render(metrics=both)
    low, high = both["unseen_events"]["intervals"]["score"]
    tile = f'<b>{both["score"]:.3f}</b><span class="interval">95 %: {low:.3f} to {high:.3f}</span>'
    assert "b, socal-fire; 2 of 2 scenes" in page
    assert page.count(tile) == 2
    page = render(metrics=one)
    assert "socal-fire; 1 of 2 scenes" in page
    assert page.index(f"<b>{one['unseen_events']['score']:.3f}</b></div>") < page.index(f"<b>{one['score']:.3f}</b>")


def test_the_page_states_that_no_event_is_new() -> None:
    new = "No event here is new"
    assert new in render(metrics=metrics(seen=["b", "socal-fire"]))
    assert new not in render(metrics=metrics(seen=None))  # unknown for an older checkpoint
    assert new not in render(metrics=metrics(seen=["b"]))


def test_the_page_shows_the_probability_metrics() -> None:
    numbers = metrics()
    page = render(metrics=numbers)
    assert set(numbers["probabilities"]) == set(CURVES)
    for name, row in numbers["probabilities"].items():
        cells = f"<td>{row['average_precision']:.3f}</td><td>{row['ece']:.3f}</td>"
        assert f'<th scope="row">{name}</th>{cells}' in page
        assert f"<td>{row['pixels']:,}</td></tr>" in page


def test_an_event_of_many_scenes_has_an_interval() -> None:
    numbers = metrics()
    numbers["events"]["b"] |= {"n_scenes": 9, "score_interval": [0.123, 0.456]}
    assert '<span class="interval quiet">0.123 to 0.456</span>' in render(metrics=numbers)


def test_limits_are_on_every_page_and_the_licence_only_with_xbd() -> None:
    synthetic, real, other = (render(settings={"dataset.source": source}) for source in ("sample", "xbd", "other"))
    for page in (synthetic, real, other):
        assert "2505.08117" in page
        assert "EMS-98" in page
        assert page.count("<li>") == len(LIMITS)
    assert "CC BY-NC-SA 4.0" in real
    assert "CC BY-NC-SA 4.0" not in synthetic + other
    assert "scenes are synthetic" in synthetic
    assert "scenes are synthetic" not in real + other


@pytest.mark.parametrize(("score", "marked"), [(0.1, True), (0.2, True), (0.3, False)])
def test_a_model_no_better_than_a_constant_is_marked(score: float, marked: bool) -> None:
    page = render(metrics=metrics() | {"score": score, "constant_prediction_score": 0.2})
    assert ("This one does not." in page) is marked


def test_a_score_on_training_scenes_is_marked() -> None:
    warning = "Scenes of the training split are among those scored"
    assert warning in render(metrics=metrics(split="train"))
    assert warning not in render()


def test_a_tiny_score_is_not_shown_as_zero() -> None:
    page = render(metrics=metrics() | {"damage_f1": 4e-6})
    assert "<b>&lt; 0.001</b>" in page


def test_figures_are_embedded() -> None:
    *charts, panels, buildings = re.findall(r'src="data:image/([a-z+]+);base64,([^"]+)"', render())
    assert {(kind, base64.b64decode(data)) for kind, data in charts} == {("svg+xml", SVG)}
    for kind, data in (panels, buildings):
        assert kind == "jpeg"
        assert base64.b64decode(data)[:2] == b"\xff\xd8"


def test_provenance_includes_what_was_tuned_on_validation() -> None:
    checkpoint: dict[str, Any] = {
        "version": "0.9",
        "dataset": "xbd",
        "fingerprint": "f00d",
        "epoch": 3,
        "history": [{}] * 5,
    }
    run = {"id": "2026", "settings": {"dataset": {"name": "sample", "source": "sample"}}}
    rows = provenance_of(checkpoint, run, None, "beef", {"training.seed": "1", "data.seed": "2", "x": "3"})
    assert rows["seeds"] == "training 1, data 2"
    assert (rows["run"], rows["data"]) == ("2026", "sample (synthetic scenes)")
    mine = {"id": "1", "settings": {"dataset": {"name": "mine", "source": "other"}}}
    assert provenance_of(checkpoint, mine, None, "beef", {})["data"] == "mine (a dataset in another layout)"
    assert rows["epoch"] == "3, the best of 5"
    assert rows["fingerprint of the scored scenes and their truth"] == "beef"
    assert rows["model file"] == "not named (reporting.model_file)"
    assert not {"thresholds", "temperatures"} & set(rows)
    assert not [name for name in rows if "validation" in name]
    fitted = {
        "thresholds": {"building": 0.5, "damaged": 0.38},
        "temperatures": {"building": 1.25, "damage": 0.8},
        "calibration": {
            "building_ece_before": 0.1,
            "building_ece_after": 0.02,
            "damage_ece_before": 0.2,
            "damage_ece_after": 0.0304,
        },
    }
    assert rows["trained by"] == "xview2-siamese-unet 0.9 on xbd", "an installed copy has no commit"
    rows = provenance_of(checkpoint | fitted | {"commit": "c0ffee-dirty"}, run, None, "beef", {})
    assert rows["trained by"] == "xview2-siamese-unet 0.9 (c0ffee-dirty) on xbd"
    assert rows["thresholds"] == "building 0.50, damaged 0.38"
    assert rows["temperatures"] == "building 1.25, damage 0.80"
    error = rows["ECE on validation, before and after the temperatures"]
    assert error == "building 0.100 → 0.020, damage 0.200 → 0.030"


NONE = pd.DataFrame(columns=["scene", "problem", "remedy", "consequence"])
SUMMARY: dict[str, Any] = {"n_scenes": 100, "damage": {"minor-damage": {"support": 1}, "destroyed": {"support": 5}}}
CHECKPOINT: dict[str, Any] = {"epoch": 3, "history": [{"epoch": epoch} for epoch in range(5)]}
COUNTS = {"pre": {}, "post": {"background": 9, "no-damage": 5, "minor-damage": 1, "major-damage": 1, "destroyed": 1}}
UNSEEN = {"pre": {}, "post": {**COUNTS["post"], "major-damage": 0}}
PROBLEM = {"scene": "a", "problem": "labels/a.json: found no uid", "consequence": "left out"}


def test_a_sound_result_has_no_warning() -> None:
    assert warnings_of(SUMMARY, NONE, CHECKPOINT, COUNTS) == []
    assert warnings_of(SUMMARY, NONE, CHECKPOINT | {"history": []}, COUNTS) == []


def test_a_class_without_training_pixels_is_a_warning() -> None:
    (warning,) = warnings_of(SUMMARY, NONE, CHECKPOINT, UNSEEN)
    assert "No training scene shows major-damage" in warning


@pytest.mark.parametrize(
    ("metrics", "problems", "checkpoint", "sentence"),
    [
        ({"n_scenes": 29}, NONE, {}, "Only 29 scenes were scored: the intervals are rough."),
        ({"damage": {"destroyed": {"support": 0}}}, NONE, {}, "No scored scene holds destroyed: "),
        ({}, NONE, {"epoch": 4}, "The best epoch, 4, was the last one: "),
        ({}, pd.DataFrame([PROBLEM] * 2), {}, "2 scenes left out; the first: labels/a.json: found no uid."),
    ],
)
def test_each_problem_is_one_warning(
    metrics: dict[str, Any], problems: pd.DataFrame, checkpoint: dict[str, Any], sentence: str
) -> None:
    (warning,) = warnings_of(SUMMARY | metrics, problems, CHECKPOINT | checkpoint, COUNTS)
    assert warning.startswith(sentence)
