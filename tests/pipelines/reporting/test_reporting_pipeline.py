"""The reporting pipeline: inputs, files and the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
from xview2_siamese_unet.pipelines.reporting.nodes import count_predicted_probabilities, score_predictions, write_report
from xview2_siamese_unet.pipelines.submission import submit
from xview2_siamese_unet.report.page import svg_uri

CONF = Path(__file__).parents[3] / "conf" / "base"


def test_the_inputs_of_the_pipeline_are_known(after_prediction: Pipeline, reporting_inputs: dict[str, Any]) -> None:
    assert after_prediction.inputs() == set(reporting_inputs)
    assert create_pipeline().inputs() == set(reporting_inputs) - {"predictions", "probabilities"} | {"params:hardware"}


def test_the_pipeline_writes_every_file(written: Path) -> None:
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


def test_scoring_uses_the_parameter_unclassified_of_the_training(
    reporting_inputs: dict[str, Any], written: Path
) -> None:
    counts = pd.read_parquet(written / "scene_counts.parquet")
    arguments = reporting_inputs["probabilities"], reporting_inputs["store"], counts
    matches, params = pd.read_parquet(written / "building_matches.parquet"), ReportingParams()
    scores, pixel_counts = {}, {}
    for unclassified in ("ignore", "no_damage"):
        checkpoint = reporting_inputs["checkpoint"] | {"classes": {"unclassified": unclassified}}
        probabilities = count_predicted_probabilities(*arguments, checkpoint)
        scores[unclassified], pixel_counts[unclassified] = (
            score_predictions(counts, matches, probabilities, checkpoint, params),
            probabilities["seen"].sum(),
        )
        assert scores[unclassified]["unclassified"] == unclassified
    assert scores["ignore"]["damage_f1_no_damage"] != scores["no_damage"]["damage_f1_no_damage"]
    assert pixel_counts["ignore"] < pixel_counts["no_damage"]


def test_numbers_on_the_page_equal_those_in_the_files(written: Path) -> None:
    metrics = pd.read_json(written / "metrics.json", typ="series")
    page = (written / "report.html").read_text(encoding="utf-8")
    headline = re.findall(r"<b>([^<]*)</b>", page)
    keys = ["score", "constant_prediction_score", "localization_f1", "damage_f1"]
    assert headline == [f"{metrics[key]:.3f}" for key in keys]
    assert pd.read_parquet(written / "scene_counts.parquet").shape == (6, 44)
    assert "more.losses[0].gamma</th><td>2.5<" in page
    assert "dataset.sample.size</th><td>256<" in page
    for value in ("f00d", "xview2-siamese-unet 0.9 on sample", "0, the best of 2"):
        assert f"<td>{value}</td>" in page
    assert "<td>dataset.sample 7, data_processing.split 0, training 7, reporting.intervals 0, validation 0</td>" in page
    row = metrics["probabilities"]["most likely class"]
    cells = f"<td>{row['average_precision']:.3f}</td><td>{row['ece']:.3f}</td>"
    assert f"most likely class</th>{cells}" in page
    assert "Only 6 scenes were scored" in page
    assert "A &lt;b&gt;bold&lt;/b&gt; title" in page


def test_the_page_shows_the_settings_of_the_run(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "run</th><td>2026<" in page
    assert "training.seed</th><td>7<" in page


def test_the_page_names_the_model_file(reporting_inputs: dict[str, Any], written: Path) -> None:
    arguments = {
        "metrics": pd.read_json(written / "metrics.json", typ="series").to_dict(),
        "counts": pd.read_parquet(written / "scene_counts.parquet"),
        "params": ReportingParams(model_file="002_best.pth"),
        "run": reporting_inputs["run"]
        | {"settings": reporting_inputs["run"]["settings"] | {"dataset": {"name": "xbd", "source": "xbd"}}},
        "problems": reporting_inputs["ingest_report"],
        "class_histogram": reporting_inputs["class_histogram"],
        **{path.stem: path.read_bytes() for path in written.iterdir() if path.suffix in (".svg", ".png")},
    } | {key: reporting_inputs[key] for key in ("class_counts", "checkpoint")}
    page = write_report(**arguments)
    assert "model file</th><td>002_best.pth<" in page
    assert "CC BY-NC-SA 4.0" in page


def test_the_page_embeds_the_saved_charts(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    charts = sorted(written.glob("*.svg"))
    assert len(charts) == 7
    assert all(svg_uri(chart.read_bytes()) in page for chart in charts)
    assert page.count("data:image/jpeg;base64,") == 2


def test_predictions_and_probabilities_are_saved_scene_by_scene(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names, waiting = [f"s{number}" for number in range(12)], []

    def predict(_: object, __: object, wanted: list[str], *___: object, **____: object) -> Iterator[SimpleNamespace]:
        for number, name in enumerate(wanted):
            waiting.append(number - len(list(tmp_path.glob("probabilities/*.tif"))))
            yield SimpleNamespace(
                name=name,
                codes=np.full((2, 3), number % 5, np.uint8),
                probabilities=np.full((5, 2, 3), 51, np.uint8),
            )

    monkeypatch.setattr("xview2_siamese_unet.pipelines.reporting.nodes.predict_scenes", predict)
    monkeypatch.setattr("xview2_siamese_unet.pipelines.reporting.nodes.georeferences", lambda _: dict.fromkeys(names))
    config = OmegaConf.create((CONF / "catalog_reporting.yml").read_text())
    for dataset in ("predictions", "probabilities"):
        config[dataset].path = str(tmp_path / dataset)
    entries = {name: OmegaConf.to_container(config[name]) for name in ("predictions", "probabilities")}
    catalog = DataCatalog.from_config(entries)
    inputs = {"checkpoint": {}, "store": None, "scenes": None, "params:hardware": HardwareParams()}
    inputs |= {"splits": pd.DataFrame({"scene": names, "split": "test"}), "params:reporting": ReportingParams()}
    for name, value in inputs.items():
        catalog[name] = value if value is not None else "nothing"
    SequentialRunner().run(create_pipeline().only_nodes("predict"), catalog)
    assert max(waiting) <= 2, "at most two predictions are in memory"
    saved, shares = catalog.load("predictions"), catalog.load("probabilities")
    assert sorted(saved) == sorted(shares) == sorted(names)
    assert (saved["s7"]() == 2).all()
    assert (shares["s7"]() == 51).all()


def test_a_submission_has_two_masks_per_scene() -> None:
    manifest = pd.DataFrame({"id": ["00000"], "scene": ["a"]})
    predictions = {"a": lambda: np.full((1024, 1024), 5, np.uint8)}
    files = dict(file for chunk in submit(manifest, predictions, "hold") for file in chunk.items())
    assert list(files) == ["hold_localization_00000_prediction", "hold_damage_00000_prediction"]
    assert [image.getextrema() for image in files.values()] == [(1, 1), (0, 0)]


def test_submission_outputs_are_in_no_other_pipeline(registered: dict[str, Pipeline]) -> None:
    assert {"submission", "submission_manifest"} == registered["submission"].all_outputs()
    assert not registered["__default__"].all_outputs() & registered["submission"].all_outputs()
