"""Make the pictures of the README and the docs from the output of `kedro run`: `uv run python docs/pictures.py`.

Only synthetic scenes are shown. Screenshots need Chromium, and QGIS of Debian or Ubuntu.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
from PIL import Image

from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config.data_processing import DataProcessingParams
from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.reopen import reopen_pair
from xview2_siamese_unet.labelling.page import labelling_page
from xview2_siamese_unet.pipelines.data_processing.nodes import list_scenes, parse_labels
from xview2_siamese_unet.raster.export import write_geotiffs
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.synthetic import plan_sample, write_scene
from xview2_siamese_unet.xbd.scenes import list_pairs

PROJECT = Path(__file__).parents[1]
IMAGES = PROJECT / "docs" / "images"
REPORTS = max((PROJECT / "data" / "08_reporting" / "default" / "quickstart").glob("*/"), default=PROJECT)
MODELS = PROJECT / "data" / "06_models" / "default" / "quickstart" / REPORTS.name / "checkpoints"
PYTHON_OF_QGIS = "/usr/bin/python3"  # of Debian and Ubuntu
TOWN, TOWN_SIDE = ("sample-tsunami", 0), 1024
PANEL = 457
"""Width in pixels of the Kedro-Viz panel of an opened dataset."""
SCENES = {"hurricane": 9, "wildfire": 0, "tsunami": 9, "volcano": 0, "earthquake": 6}
"""Scenes in the picture of the sample: event → number of the scene."""


def save_sample(path: Path) -> None:
    """Save the image pairs of some sample scenes, pre-disaster above post-disaster."""
    params = SampleParams()
    with tempfile.TemporaryDirectory() as folder:
        for scene in plan_sample(params):
            if SCENES.get(scene.id.disaster.removeprefix("sample-")) == scene.id.number:
                write_scene(Path(folder), scene, params.size)
        pairs, _ = list_pairs(Path(folder))
        columns = [
            np.vstack([read_rgb(Path(folder) / pair.images[image]) for image in ("pre", "post")]) for pair in pairs
        ]
    Image.fromarray(np.hstack(columns)).save(path, quality=88)


def screenshot(page: str, path: Path, size: str, seconds: int = 1) -> None:
    """Save a screenshot of a page, taken with headless Chromium after some seconds for its scripts."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("No Chromium on this machine: install it, or run this on another machine.")
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={seconds * 1000}",
        ]
        subprocess.run(  # noqa: S603
            [browser, *options, f"--window-size={size}", f"--screenshot={path}", page], check=True, capture_output=True
        )


def write_town(folder: Path) -> tuple[Path, Path]:
    """Write the pre- and post-disaster image of a synthetic town as GeoTIFFs."""
    root, params = folder / "sample", SampleParams(size=TOWN_SIDE)
    town = next(scene for scene in plan_sample(params) if scene.id.disaster == TOWN[0] and scene.id.number == TOWN[1])
    write_scene(root, town, params.size)
    dataset, data = DatasetParams(sample=params), DataProcessingParams()
    _, scenes, _ = parse_labels(root, list_scenes(root, data), dataset, data, ExecutorParams())
    return write_geotiffs(root, scenes.iloc[0], folder)


def screenshot_assessment(map_path: Path, label_path: Path) -> None:
    """Save screenshots of the map and the labelling page of a synthetic town, assessed with the quickstart's model."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "assessment"
        assessment = assess(*write_town(Path(folder)), out, env="default/quickstart")
        screenshot(assessment.products["map.html"].as_uri(), out / "map.png", "1400,860", seconds=5)
        Image.open(out / "map.png").convert("RGB").save(map_path, quality=85)
        buildings = read_building_layer(out / "buildings.gpkg")
        ids = list(buildings["building_id"][100:200])  # not the first row of houses, cut off by the border
        page = labelling_page(buildings, reopen_pair(out), ids, show_prediction=False)
        (out / "label.html").write_text(page, encoding="utf-8")
        screenshot((out / "label.html").as_uri(), out / "label.png", "1400,860")
        Image.open(out / "label.png").convert("RGB").save(label_path, quality=85)


def screenshot_plugin(checkpoint: Path, dialog_path: Path, layers_path: Path) -> None:
    """Save screenshots of the dialog and the styled layers of QGIS, where the same town is assessed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for image, path in zip(("before.tif", "after.tif"), write_town(folder), strict=True):
            path.rename(folder / image)
        shutil.copy(checkpoint, folder / "model.pth")
        # QGIS loads the libraries of the first Python on PATH.
        env = {"PATH": os.defpath, "QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile")}
        script, xview2 = Path(__file__).with_name("pictures_in_qgis.py"), Path(sys.executable).with_name("xview2")
        subprocess.run([PYTHON_OF_QGIS, script, xview2, folder], check=True, env={**inherited, **env})  # noqa: S603
        for source, path in (("dialog.png", dialog_path), ("layers.png", layers_path)):
            with Image.open(folder / source) as image:
                # This method keeps the colours of a legend, which are few pixels.
                image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def screenshot_lineage(path: Path, dataset: str) -> None:
    """Save two screenshots of Kedro-Viz, a pipeline and an opened dataset, as one picture."""
    env = {**os.environ, "KEDRO_ENV": "default/quickstart"}
    subprocess.run(["kedro", "viz", "build", "--include-previews"], check=True, cwd=PROJECT, env=env)  # noqa: S607
    site = PROJECT / "build"
    nodes = json.loads((site / "api" / "main").read_text())["nodes"]
    opened = next(node["id"] for node in nodes if node["name"] == dataset)
    # Hide the tour, which would cover the picture, and the panels on the left.
    state = {"showFeatureHints": False, "theme": "light", "visible": {"sidebar": False, "miniMap": False}}
    state["layer"] = {"visible": False}  # the bands of the layers halve the zoom
    serve = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server, tempfile.TemporaryDirectory() as folder:
        Thread(target=server.serve_forever, daemon=True).start()
        pictures = []
        for name, address in (("graph", "/?pid=data_processing"), ("opened", f"/?pid=reporting&sid={opened}")):
            (site / "open.html").write_text(
                "<script>localStorage.setItem('showFeatureHints', 'false');"
                f"localStorage.setItem('KedroViz', '{json.dumps(state)}'); location.href = '{address}';</script>"
            )
            picture = Path(folder) / f"{name}.png"
            screenshot(f"http://127.0.0.1:{server.server_port}/open.html", picture, "1340,1000", seconds=12)
            with Image.open(picture) as image:
                pictures.append(np.asarray(image.convert("RGB")))
        server.shutdown()
    (site / "open.html").unlink()
    Image.fromarray(np.hstack([pictures[0], pictures[1][:, -PANEL:]])).save(path, optimize=True)


def screenshot_report(page: str, path: Path) -> None:
    """Save screenshots of three parts of a report as one picture: head, probabilities and worst buildings."""
    style = "width: 1060px; height: 1400px; border: 0"
    frames = (f'<iframe src="{page}{part}" style="{style}"></iframe>' for part in ("", "#probabilities", "#buildings"))
    with tempfile.TemporaryDirectory() as folder:
        sheet, picture = Path(folder) / "sheet.html", Path(folder) / "sheet.png"
        sheet.write_text(f'<body style="margin: 0; display: flex">{"".join(frames)}</body>', encoding="utf-8")
        screenshot(sheet.as_uri(), picture, "3180,1400", seconds=4)
        with Image.open(picture) as image:
            image.convert("RGB").reduce(2).save(path, quality=85)


if __name__ == "__main__":
    if not (REPORTS / "report.html").exists():
        sys.exit("There is no report yet. Run `uv run kedro run` first.")
    IMAGES.mkdir(exist_ok=True)
    save_sample(IMAGES / "sample.jpg")
    panels = Image.open(REPORTS / "panels.png").convert("RGB")
    panels.crop((0, 0, panels.width, panels.height // 2)).save(IMAGES / "panels.jpg", quality=85)
    screenshot_report((REPORTS / "report.html").as_uri(), IMAGES / "report.jpg")
    screenshot_assessment(IMAGES / "map.jpg", IMAGES / "label.jpg")
    screenshot_lineage(IMAGES / "lineage.png", "damage_confusion")
    screenshot_plugin(next(MODELS.glob("*.pth")), IMAGES / "qgis_dialog.png", IMAGES / "qgis_layers.png")
