from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from omegaconf import OmegaConf
from PIL import Image

from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.params.modelling import HardwareParams, Recipe
from xview2_siamese_unet.params.reporting import PanelParams, ReportingParams
from xview2_siamese_unet.params.tree import Parameters
from xview2_siamese_unet.pipelines.reporting import create_pipeline
from xview2_siamese_unet.pipelines.reporting.nodes import (
    count_probabilities,
    plot_buildings,
    plot_confusion,
    plot_curves,
    plot_panels,
    plot_scored_classes,
    score,
    submit,
    write_report,
)
from xview2_siamese_unet.raster.probability import as_bytes

CONF = Path(__file__).parents[3] / "conf" / "base"
AFTER_PREDICTION = create_pipeline().filter(from_nodes=["count_confusion", "plot_curves"])
WRITTEN = AFTER_PREDICTION.all_outputs()
NAMES = [f"{event}_{number:08d}" for event in ("socal-fire", "palu-tsunami") for number in range(3)]
HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1],
        "learning_rate": [1e-3, 1e-3],
        "train_loss": [1.0, 0.5],
        "validation_loss": [1.1, 0.6],
        "validation_score": [float("nan"), 0.4],
        "validation_localization_f1": [0.2, 0.6],
        "validation_damage_f1": [0.1, 0.3],
    }
)
SETTINGS = Parameters().model_dump(mode="json")
RECIPE = {name: SETTINGS[name] for name in Recipe.model_fields} | {"training": SETTINGS["training"] | {"seed": 7}}
CHECKPOINT = {
    "version": "0.9",
    "dataset": "sample",
    "fingerprint": "f00d",
    "epoch": 0,
    "classes": RECIPE["classes"],
    "recipe": RECIPE,
    "history": HISTORY.to_dict("records"),
}
SQUARE = "POLYGON ((8 8, 8 16, 24 16, 24 8, 8 8))"
CLASS_COUNTS = {"pre": {"background": 900, "building": 100}, "post": {"background": 900, "no-damage": 100}}


def fabricate(seed: int) -> tuple[SimpleNamespace, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    damage = np.kron(rng.choice(6, (8, 8), p=[0.6, 0.2, 0.05, 0.05, 0.05, 0.05]), np.ones((8, 8))).astype(np.uint8)
    pre, post = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    predicted = np.where(rng.random((64, 64)) < 0.8, damage % 5, 1).astype(np.uint8)
    shares = as_bytes(rng.dirichlet(np.ones(5), (64, 64)).transpose(2, 0, 1))
    truth = SimpleNamespace(pre=pre, post=post, building=(damage > 0).astype(np.uint8), damage=damage)
    return truth, predicted, shares


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    data = {name: fabricate(seed) for seed, name in enumerate(NAMES)}

    def loader(name: str, part: int) -> Callable[[], np.ndarray]:
        return lambda: data[name][part]

    return {
        "predictions": {name: loader(name, 1) for name in NAMES},
        "probabilities": {name: loader(name, 2) for name in NAMES},
        "store": SimpleNamespace(scene=lambda name: data[name][0]),
        "scenes": pd.DataFrame(
            {
                "scene": NAMES,
                "tier": "test",
                "disaster": [name.split("_")[0] for name in NAMES],
                "disaster_type": ["fire"] * 3 + ["tsunami"] * 3,
            }
        ),
        "splits": pd.DataFrame({"scene": NAMES, "split": "test"}),
        "buildings": pd.DataFrame(
            {
                "uid": NAMES,
                "scene": NAMES,
                "damage": "destroyed",
                "pre_polygon": "POLYGON ((8 8, 8 16, 24 16, 24 8, 8 8))",
            }
        ),
        "history": HISTORY,
        "checkpoint": CHECKPOINT,
        "ingest_report": pd.DataFrame(columns=["scene", "where", "found", "allowed", "remedy", "consequence"]),
        "class_counts": CLASS_COUNTS,
        "timings": {"predict": {"pipeline": "reporting", "seconds": 3.0, "ended": "2026-01-02T03:04:05+00:00"}},
        "params:data_processing.masks.rule": "centre",
        "params:reporting.split": "test",
        "params:dataset": DatasetParams(),
        "params:reporting": ReportingParams(title="A <b>bold</b> title", dpi=50, panels=PanelParams(side=64)),
        "parameters": SETTINGS | {"dataset": DatasetParams(), "more": {"losses": [{"name": "focal", "gamma": 2.5}]}},
    }


@pytest.fixture(scope="module")
def written(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reporting")
    config = OmegaConf.load(CONF / "catalog_reporting.yml")
    config["_reporting"] = str(folder)
    entries = {name: OmegaConf.to_container(config[name], resolve=True) for name in WRITTEN}
    catalog = DataCatalog.from_config(entries)
    for name, value in world.items():
        catalog[name] = value
    SequentialRunner().run(AFTER_PREDICTION, catalog)
    return folder


def test_free_inputs(world: dict[str, Any]) -> None:
    assert AFTER_PREDICTION.inputs() == set(world)
    assert create_pipeline().inputs() == set(world) - {"predictions", "probabilities"} | {"params:hardware"}


def test_parameters_file_states_every_default() -> None:
    written = OmegaConf.to_container(OmegaConf.load(CONF / "parameters_reporting.yml"), resolve=False)
    model_file = "${globals:experiment}_best_siamese_unet_state.pth"
    assert written == {"reporting": ReportingParams(model_file=model_file).model_dump()}


def test_run_writes_every_file(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "building_confusion.json",
        "building_confusion.png",
        "building_matches.parquet",
        "damage_confusion.json",
        "damage_confusion.png",
        "localization_confusion.json",
        "localization_confusion.png",
        "metrics.json",
        "panels.png",
        "precision_recall.json",
        "precision_recall.png",
        "probability_counts.parquet",
        "reliability.json",
        "reliability.png",
        "report.html",
        "scene_counts.parquet",
        "scored_classes.json",
        "scored_classes.png",
        "submission_manifest.csv",
        "training_curves.json",
        "training_curves.png",
        "worst_buildings.png",
    }


def test_numbers_of_the_page_are_those_of_the_file(written: Path) -> None:
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
    assert "<td>dataset.sample 7, data_processing.split 0, training 7, reporting.intervals 0</td>" in page
    assert "4.0 pictures a second" in page
    row = metrics["probabilities"]["most likely class"]
    cells = f"<td>{row['average_precision']:.3f}</td><td>{row['ece']:.3f}</td>"
    assert f"most likely class</th>{cells}" in page
    assert "Only 6 scenes were scored" in page
    assert "A &lt;b&gt;bold&lt;/b&gt; title" in page


def test_the_page_speaks_of_the_settings_that_the_net_was_made_with(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "<li>training.seed is 0 in the configuration, but 7 in the checkpoint, which is what was used.</li>" in page
    assert "training.seed</th><td>7<" in page


def test_scored_is_by_the_policy_that_the_net_was_trained_with(world: dict[str, Any], written: Path) -> None:
    counts = pd.read_parquet(written / "scene_counts.parquet")
    arguments = world["probabilities"], world["store"], counts
    matches, params = pd.read_parquet(written / "building_matches.parquet"), ReportingParams()
    scores, seen = {}, {}
    for policy in ("ignore", "no_damage"):
        checkpoint = CHECKPOINT | {"classes": {"unclassified": policy}}
        said = count_probabilities(*arguments, checkpoint)
        scores[policy], seen[policy] = score(counts, matches, said, checkpoint, params), said["seen"].sum()
        assert scores[policy]["unclassified"] == policy
    assert scores["ignore"]["damage_f1_no_damage"] != scores["no_damage"]["damage_f1_no_damage"]
    assert seen["ignore"] < seen["no_damage"]


def test_dpi_and_side_set_the_size_of_pictures(world: dict[str, Any], tmp_path: Path) -> None:
    six = np.eye(6, dtype=int).tolist()
    confusion = {"confusion": {"localization": [[1, 2], [3, 4]], "damage": six}, "buildings": {"confusion": six}}
    for dpi in (50, 100):
        params = ReportingParams(dpi=dpi)
        for figure in (*plot_confusion(confusion, params)[3:], plot_curves(HISTORY, params)[1]):
            figure.savefig(tmp_path / "figure.png")
            with Image.open(tmp_path / "figure.png") as image:
                assert image.size == pytest.approx(figure.get_size_inches() * dpi, abs=1)


def test_panel_counts_choose_scenes(world: dict[str, Any], written: Path) -> None:
    counts = pd.read_parquet(written / "scene_counts.parquet")
    params = ReportingParams.model_validate({"panels": {"best": 1, "median": 0, "worst": 2, "side": 64, "window": 32}})
    answers = world["predictions"], world["probabilities"]
    figure = plot_panels(counts, *answers, world["store"], {"unclassified": "ignore"}, params)
    notes = [text.get_text().split(" · ")[0] for text in figure.axes[0].texts if "scene score" in text.get_text()]
    assert notes == ["best", "worst", "worst"]
    assert sum("shown: 32 × 32 of 64 × 64 px" in text.get_text() for text in figure.axes[0].texts) == 3


def test_panel_counts_choose_buildings(world: dict[str, Any], written: Path) -> None:
    matches = pd.read_parquet(written / "building_matches.parquet")
    answers = world["predictions"], world["probabilities"]
    largest = []
    for many, window in ((0, 32), (3, 32), (3, 64)):
        params = ReportingParams.model_validate({"panels": {"buildings": many, "building_window": window, "side": 64}})
        axes = plot_buildings(matches, *answers, world["store"], params).axes[0]
        texts = [text.get_text() for text in axes.texts]
        assert sum(text.startswith("truth: ") for text in texts) == many
        assert ("No building was answered wrongly." in texts) is (many == 0)
        largest.append(max((mark.get_width() for mark in axes.patches), default=0))
    assert 0 == largest[0] < largest[2] < largest[1], "the more of the scene is shown, the smaller the building"


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
                probabilities=np.full((5, 2, 3), 0.2, np.float32),
            )

    monkeypatch.setattr("xview2_siamese_unet.inference.predict.predict_scenes", answer)
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


def test_model_file_is_printed(world: dict[str, Any], written: Path) -> None:
    arguments = {
        "metrics": pd.read_json(written / "metrics.json", typ="series").to_dict(),
        "counts": pd.read_parquet(written / "scene_counts.parquet"),
        "dataset": DatasetParams(source="xbd", root=Path("x"), name="xbd"),
        "params": ReportingParams(model_file="002_best.pth"),
        "settings": SETTINGS,
        "problems": world["ingest_report"],
        "matches": pd.read_parquet(written / "building_matches.parquet"),
        "probability_counts": pd.read_parquet(written / "probability_counts.parquet"),
        "timings": {},
    } | {key: world[key] for key in ("predictions", "probabilities", "store", "history", "class_counts", "checkpoint")}
    page = write_report(**arguments)
    assert "model file</th><td>002_best.pth<" in page
    assert "CC BY-NC-SA 4.0" in page


def test_scored_classes_are_the_margins_of_the_confusion() -> None:
    matrix = np.arange(36).reshape(6, 6)
    figure, _ = plot_scored_classes({"confusion": {"damage": matrix.tolist()}}, ReportingParams(dpi=50))
    truth, prediction = (list(bars.customdata) for bars in figure.data)
    assert truth == matrix.sum(axis=1).tolist()
    assert prediction == matrix.sum(axis=0).tolist()


def test_a_submission_is_written_only_where_one_is_asked_for() -> None:
    manifest = pd.DataFrame({"id": ["00000"], "scene": ["a"]})
    predictions = {"a": lambda: np.full((1024, 1024), 5, np.uint8)}
    assert not list(submit(manifest, predictions, ReportingParams()))
    chunks = submit(manifest, predictions, ReportingParams(submission="hold"))
    files = dict(file for chunk in chunks for file in chunk.items())
    assert list(files) == ["hold_localization_00000_prediction", "hold_damage_00000_prediction"]
    assert [image.getextrema() for image in files.values()] == [(1, 1), (0, 0)]


def test_the_manifest_lists_every_scored_scene(written: Path) -> None:
    manifest = pd.read_csv(written / "submission_manifest.csv", dtype=str)
    assert manifest["scene"].tolist() == sorted(NAMES)
    assert manifest["id"].iloc[1] == "00001"
