"""What the pipeline takes, what it makes, and by which rule it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf

from xview2_siamese_unet.config.reporting import ReportingParams, SubmissionParams
from xview2_siamese_unet.pipelines.reporting import create_pipeline
from xview2_siamese_unet.pipelines.reporting.nodes import count_probabilities, score

CONF = Path(__file__).parents[3] / "conf" / "base"


def test_free_inputs(after_prediction: Pipeline, world: dict[str, Any]) -> None:
    assert after_prediction.inputs() == set(world)
    assert create_pipeline().inputs() == set(world) - {"predictions", "probabilities"} | {"params:hardware"}


def test_parameters_file_states_every_default() -> None:
    written = OmegaConf.to_container(OmegaConf.load(CONF / "parameters_reporting.yml"), resolve=False)
    model_file = "${globals:experiment}_best_siamese_unet_state.pth"
    submission = SubmissionParams().model_dump()
    assert written == {"reporting": ReportingParams(model_file=model_file).model_dump(), "submission": submission}


def test_run_writes_every_file(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "building_confusion.svg",
        "building_matches.parquet",
        "damage_confusion.svg",
        "localization_confusion.svg",
        "metrics.json",
        "panels.png",
        "precision_recall.svg",
        "probability_counts.parquet",
        "reliability.svg",
        "report.html",
        "scene_counts.parquet",
        "scored_classes.svg",
        "training_curves.svg",
        "worst_buildings.png",
    }


def test_scored_is_by_the_policy_that_the_net_was_trained_with(world: dict[str, Any], written: Path) -> None:
    counts = pd.read_parquet(written / "scene_counts.parquet")
    arguments = world["probabilities"], world["store"], counts
    matches, params = pd.read_parquet(written / "building_matches.parquet"), ReportingParams()
    scores, seen = {}, {}
    for policy in ("ignore", "no_damage"):
        checkpoint = world["checkpoint"] | {"classes": {"unclassified": policy}}
        said = count_probabilities(*arguments, checkpoint)
        scores[policy], seen[policy] = score(counts, matches, said, checkpoint, params), said["seen"].sum()
        assert scores[policy]["unclassified"] == policy
    assert scores["ignore"]["damage_f1_no_damage"] != scores["no_damage"]["damage_f1_no_damage"]
    assert seen["ignore"] < seen["no_damage"]
