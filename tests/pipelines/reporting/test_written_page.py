"""What the report says is what was counted, and with which settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.pipelines.reporting.nodes import write_report
from xview2_siamese_unet.report.page import svg_uri


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
    row = metrics["probabilities"]["most likely class"]
    cells = f"<td>{row['average_precision']:.3f}</td><td>{row['ece']:.3f}</td>"
    assert f"most likely class</th>{cells}" in page
    assert "Only 6 scenes were scored" in page
    assert "A &lt;b&gt;bold&lt;/b&gt; title" in page


def test_the_page_shows_the_settings_of_the_run(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "run</th><td>2026<" in page
    assert "training.seed</th><td>7<" in page


def test_model_file_is_printed(world: dict[str, Any], written: Path) -> None:
    arguments = {
        "metrics": pd.read_json(written / "metrics.json", typ="series").to_dict(),
        "counts": pd.read_parquet(written / "scene_counts.parquet"),
        "params": ReportingParams(model_file="002_best.pth"),
        "run": world["run"] | {"settings": world["run"]["settings"] | {"dataset": {"name": "xbd", "source": "xbd"}}},
        "problems": world["ingest_report"],
        "class_histogram": world["class_histogram"],
        **{path.stem: path.read_bytes() for path in written.iterdir() if path.suffix in (".svg", ".png")},
    } | {key: world[key] for key in ("class_counts", "checkpoint")}
    page = write_report(**arguments)
    assert "model file</th><td>002_best.pth<" in page
    assert "CC BY-NC-SA 4.0" in page


def test_the_page_embeds_the_saved_charts(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    charts = sorted(written.glob("*.svg"))
    assert len(charts) == 7
    assert all(svg_uri(chart.read_bytes()) in page for chart in charts)
    assert page.count("data:image/jpeg;base64,") == 2
