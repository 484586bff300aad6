"""A model that has never seen an event, next to one that has, by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from xview2_siamese_unet.cli.leave_events_out import leave_events_out


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
