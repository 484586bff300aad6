"""All four pipelines on real xBD scenes next to the project, if they exist."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

SHARED = Path(__file__).parents[2] / ".." / "shared" / "xbd"

pytestmark = [
    pytest.mark.skipif(
        not SHARED.is_dir(), reason="needs 42 real xBD scenes in ../shared/xbd, which may not be copied"
    ),
]
BUILDINGS = {
    "tier1": {"no-damage": 1411, "minor-damage": 102, "major-damage": 277, "destroyed": 185, "un-classified": 21},
    "tier3": {"no-damage": 239, "minor-damage": 0, "major-damage": 0, "destroyed": 59, "un-classified": 5},
    "hold": {"no-damage": 69, "minor-damage": 16, "major-damage": 2, "destroyed": 0, "un-classified": 1},
    "test": {"no-damage": 1030, "minor-damage": 9, "major-damage": 0, "destroyed": 14, "un-classified": 10},
}
"""As in the README next to the scenes."""


@pytest.mark.slow
def test_from_real_scenes_to_a_report(run_kedro: Callable[..., None], storage: Path) -> None:
    run_kedro(
        env="default/seed_002",
        dataset={"source": "xbd", "root": str(SHARED.resolve()), "name": "real"},
        training={"epochs": 1, "batch_size": 4, "crop": 128, "crops_per_scene": 1},
        dataloader={"num_workers_multiplier": 0},
        model={"encoder": {"name": "tu-test_resnet", "weights": {"source": "none"}}},
    )
    scenes = pd.read_parquet(storage / "02_intermediate/real/scenes.parquet")
    assert scenes["tier"].value_counts().to_dict() == {"tier1": 24, "tier3": 8, "test": 6, "hold": 4}
    buildings = pd.read_parquet(storage / "02_intermediate/real/buildings.parquet").merge(scenes[["scene", "tier"]])
    counted = buildings.groupby(["tier", "damage"]).size().unstack(fill_value=0)
    assert {tier: row.to_dict() for tier, row in counted.iterrows()} == BUILDINGS
    report = max((storage / "08_reporting/default/002").iterdir())
    assert json.loads((report / "metrics.json").read_text())["n_scenes"] == 6
    page = (report / "report.html").read_text()
    assert "midwest-flooding" in page
    assert "data:image/jpeg;base64," in page  # the panels
    assert "CC BY-NC-SA" in page
