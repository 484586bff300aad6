"""What is kept of a net's answers: masks, probabilities, and the files of a submission."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from omegaconf import OmegaConf

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.pipelines.reporting import create_pipeline
from xview2_siamese_unet.pipelines.submission import submit

CONF = Path(__file__).parents[3] / "conf" / "base"


def test_predictions_and_probabilities_are_saved_scene_by_scene(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names, waiting = [f"s{number}" for number in range(12)], []

    def answer(_: object, __: object, wanted: list[str], *___: object, **____: object) -> Iterator[SimpleNamespace]:
        for number, name in enumerate(wanted):
            waiting.append(number - len(list(tmp_path.glob("probabilities/*.tif"))))
            yield SimpleNamespace(
                name=name,
                codes=np.full((2, 3), number % 5, np.uint8),
                probabilities=np.full((5, 2, 3), 51, np.uint8),
            )

    monkeypatch.setattr("xview2_siamese_unet.inference.prediction.predict_scenes", answer)
    monkeypatch.setattr("xview2_siamese_unet.pipelines.reporting.nodes.georeferences", lambda _: dict.fromkeys(names))
    config = OmegaConf.load(CONF / "catalog_reporting.yml")
    for dataset in ("predictions", "probabilities"):
        config[dataset].path = str(tmp_path / dataset)
    entries = {name: OmegaConf.to_container(config[name]) for name in ("predictions", "probabilities")}
    catalog = DataCatalog.from_config(entries)
    inputs = {"checkpoint": {}, "store": None, "scenes": None, "params:hardware": HardwareParams()}
    inputs |= {"splits": pd.DataFrame({"scene": names, "split": "test"}), "params:reporting": ReportingParams()}
    for name, value in inputs.items():
        catalog[name] = value if value is not None else "nothing"
    SequentialRunner().run(create_pipeline().only_nodes("predict"), catalog)
    assert max(waiting) <= 2, "an answer is let go of before the next but one is asked for"
    saved, shares = catalog.load("predictions"), catalog.load("probabilities")
    assert sorted(saved) == sorted(shares) == sorted(names)
    assert (saved["s7"]() == 2).all()
    assert (shares["s7"]() == 51).all()


def test_the_files_of_a_submission() -> None:
    manifest = pd.DataFrame({"id": ["00000"], "scene": ["a"]})
    predictions = {"a": lambda: np.full((1024, 1024), 5, np.uint8)}
    files = dict(file for chunk in submit(manifest, predictions, "hold") for file in chunk.items())
    assert list(files) == ["hold_localization_00000_prediction", "hold_damage_00000_prediction"]
    assert [image.getextrema() for image in files.values()] == [(1, 1), (0, 0)]


def test_a_submission_is_in_nobody_elses_graph(registered: dict[str, Pipeline]) -> None:
    assert {"submission", "submission_manifest"} == registered["submission"].all_outputs()
    assert not registered["__default__"].all_outputs() & registered["submission"].all_outputs()
