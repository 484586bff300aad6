"""The nodes of the reporting pipeline."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.pipelines.reporting.nodes import (
    plot_buildings,
    plot_panels,
    plot_scored_classes,
    predict,
)
from xview2_siamese_unet.xbd.ingest import SCENE_COLUMNS


@pytest.mark.slow
def test_panel_counts_choose_scenes(reporting_inputs: dict[str, Any], written: Path) -> None:
    counts = pd.read_parquet(written / "scene_counts.parquet")
    params = ReportingParams.model_validate({"panels": {"best": 1, "median": 0, "worst": 2, "side": 64, "window": 32}})
    predictions = reporting_inputs["predictions"], reporting_inputs["probabilities"]
    figure = plot_panels(counts, *predictions, reporting_inputs["store"], {"unclassified": "ignore"}, params)
    notes = [text.get_text().split(" · ")[0] for text in figure.axes[0].texts if "scene score" in text.get_text()]
    assert notes == ["best", "worst", "worst"]
    assert sum("shown: 32 × 32 of 64 × 64 px" in text.get_text() for text in figure.axes[0].texts) == 3


def test_panel_counts_choose_buildings(reporting_inputs: dict[str, Any], written: Path) -> None:
    matches = pd.read_parquet(written / "building_matches.parquet")
    predictions = reporting_inputs["predictions"], reporting_inputs["probabilities"]
    for count in (0, 3):
        params = ReportingParams.model_validate({"panels": {"buildings": count, "side": 64}})
        axes = plot_buildings(matches, *predictions, reporting_inputs["store"], params).axes[0]
        texts = [text.get_text() for text in axes.texts]
        assert sum(text.startswith("truth: ") for text in texts) == count
        assert ("No building was missed or wrongly classified." in texts) is (count == 0)


def test_scored_classes_are_the_margins_of_the_confusion() -> None:
    matrix = np.arange(36).reshape(6, 6)
    figure = plot_scored_classes({"confusion": {"damage": matrix.tolist()}})
    truth, prediction = ([bar.get_width() for bar in axes.patches] for axes in figure.axes)
    assert truth == matrix.sum(axis=1).tolist()
    assert prediction == matrix.sum(axis=0).tolist()


NAMES = [f"socal-fire_{number:08d}" for number in range(3)]


def test_a_missing_scene_is_named_before_anything_is_predicted() -> None:
    predictions = predict(
        checkpoint={},
        store=SimpleNamespace(),
        scenes=pd.DataFrame({"scene": NAMES[:2]}, columns=list(SCENE_COLUMNS)),
        splits=pd.DataFrame({"scene": NAMES, "split": "test"}),
        params=ReportingParams(),
        hardware=HardwareParams(),
    )
    with pytest.raises(DataError, match=rf"not in the table of scenes.*{NAMES[2]}.*--pipelines data_processing"):
        next(predictions)
