"""A model that has never seen an event, next to one that has, by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from xview2_siamese_unet.cli.cross_validate import cross_validate
from xview2_siamese_unet.cli.leave_events_out import leave_events_out
from xview2_siamese_unet.metrics.confusion import total
from xview2_siamese_unet.metrics.scores import official_score


def first(storage: Path, pattern: str) -> Path:
    path, *_ = sorted(storage.glob(pattern))  # later runs are of other tests
    return path


@pytest.mark.slow
def test_the_drop_on_an_unseen_event(small_project: Path, monkeypatch: pytest.MonkeyPatch, main_run: Path) -> None:
    monkeypatch.chdir(small_project)
    splits = pd.read_csv(first(main_run, "05_model_input/default/quickstart/*/splits.csv"))
    tested = splits.merge(pd.read_parquet(main_run / "02_intermediate/sample/scenes.parquet"), on="scene")
    event = str(tested.loc[tested["split"] == "test", "disaster"].iloc[0])
    before = first(main_run, "08_reporting/default/quickstart/*/metrics.json").read_text()
    done = CliRunner().invoke(leave_events_out, [event], catch_exceptions=False)
    held = f"quickstart_without_{event}"
    counts = {
        name: pd.read_parquet(first(main_run, f"08_reporting/default/{name}/*/scene_counts.parquet"))
        for name in ("quickstart", held)
    }
    assert set(counts[held]["disaster"]) == {event}
    shared = set(counts["quickstart"]["scene"]) & set(counts[held]["scene"])
    assert f"Score on {len(shared)} scenes of {event}: " in done.output
    assert first(main_run, "08_reporting/default/quickstart/*/metrics.json").read_text() == before, (
        "nothing is overwritten"
    )
    learnt = pd.read_csv(first(main_run, f"05_model_input/default/{held}/*/splits.csv")).merge(
        tested[["scene", "disaster"]]
    )
    assert event not in set(learnt.loc[learnt["split"] != "test", "disaster"])
    assert "is trained without" in first(main_run, f"08_reporting/default/{held}/*/leave_events_out.html").read_text()
    assert json.loads(first(main_run, f"08_reporting/default/{held}/*/metrics.json").read_text())["n_scenes"] == len(
        counts[held]
    )


@pytest.mark.slow
def test_cross_validation_scores_every_scene_once(
    small_project: Path, monkeypatch: pytest.MonkeyPatch, main_run: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(small_project)
    command = ["--by", "scene", "--folds", "2", "--out", str(tmp_path / "scores.json")]
    done = CliRunner().invoke(cross_validate, command, catch_exceptions=False)
    counts = [
        pd.read_parquet(first(main_run, f"08_reporting/default/quickstart_fold_{n}_of_2/*/scene_counts.parquet"))
        for n in (1, 2)
    ]
    scenes = pd.read_parquet(main_run / "02_intermediate/sample/scenes.parquet")["scene"]
    assert sorted(pd.concat(counts)["scene"]) == sorted(scenes)
    score = official_score(total(pd.concat(counts)))["score"]
    numbers = json.loads((tmp_path / "scores.json").read_text())
    assert numbers["score"] == pytest.approx(score)
    assert numbers["n_scenes"] == len(scenes)
    last = next(line for line in done.output.splitlines() if "all scenes" in line)
    assert f" {score:.3f} " in last
    again = CliRunner().invoke(cross_validate, [*command, "--json"], catch_exceptions=False)
    assert json.loads(again.stdout) == numbers
