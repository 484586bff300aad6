"""`kedro campaign run` on the command line: one table of four assessments, with every executor and after kills."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import geopandas as gpd
import pandas as pd
import psutil
import pyogrio
import pystac
import pytest
import rasterio
import torch
from pystac.extensions.file import FileExtension

from made_campaign import JOBS, copy_plan, products, tile_at
from run_command import run_python, start_python
from small_nets import small_checkpoint

pytestmark = pytest.mark.slow
KEDRO = "import sys; from kedro.framework.cli import main; sys.argv[0] = 'kedro'; main()"
LABELS = ["no-damage", "minor-damage", "major-damage", "destroyed"]
OPTIONS = ("--footprints", "houses.gpkg", "--model", "model.pth")


def kedro(site: Path, *words: str) -> CompletedProcess[str]:
    return run_python(site, "-c", KEDRO, "campaign", *words, timeout=240)


@pytest.fixture(scope="module")
def uninterrupted(site: Path) -> Path:
    """A campaign that one process has finished without interruption."""
    done = kedro(site, "run", str(copy_plan(site, "uninterrupted")), *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("buildings 163, ")
    table = pyogrio.read_dataframe(site / "uninterrupted/buildings.gpkg", layer="buildings")
    _, last = done.stdout.splitlines()
    hidden = (table["status"] == "not_assessed").sum()
    damaged, destroyed = (table["damage_label"].isin(labels).sum() for labels in (LABELS[1:], LABELS[3:]))
    assert [*map(int, re.findall(r"\b(\d+) (?:are|is|of|buildings|has|have|more)\b", last))] == [
        len(table),
        len(table) - hidden,
        damaged,
        destroyed,
        (table["status"] == "abstained").sum(),
        hidden,
    ]
    assert f"<strong>{last}</strong>" in (site / "uninterrupted/overview.html").read_text(encoding="utf-8")
    again = kedro(site, "run", "uninterrupted", *OPTIONS, "--json")
    assert json.loads(again.stdout) == json.loads((site / "uninterrupted" / "summary.json").read_text())
    return site / "uninterrupted"


def test_the_table_equals_a_merge_building_by_building(site: Path, uninterrupted: Path) -> None:
    scenes = {
        name: pyogrio.read_dataframe(uninterrupted / f"scenes/{name}/buildings.gpkg", layer="buildings")
        for name in JOBS
    }
    expected = {}
    for name, shape in gpd.read_file(site / "houses.gpkg")[["id", "geometry"]].itertuples(index=False):
        point = shape.representative_point()
        tile = tile_at(point.x, point.y).name
        rows = [rows[rows["building_id"] == name].iloc[0] for scene, rows in scenes.items() if scene.startswith(tile)]
        assert len(rows) in (0, 1, 2)
        visible = [row for row in rows if row["status"] != "not_assessed"] or rows
        expected[name] = (visible[0]["status"], visible[0]["p_none"], visible[0]["run_id"]) if visible else None
    table = pyogrio.read_dataframe(uninterrupted / "buildings.gpkg", layer="buildings").set_index("building_id")
    assert sorted(table.index) == sorted(expected)
    for name, values in expected.items():
        row = table.loc[name]
        if values is None:
            assert (row["status"], row["reason"]) == ("not_assessed", "no images")
        else:
            assert [*row[["status", "p_none", "run_id"]]] == pytest.approx([*values], nan_ok=True)
    counts = json.loads((uninterrupted / "summary.json").read_text())["all"]
    kinds = Counter(table["damage_label"].where(table["status"] == "assessed", table["status"]))
    assert {kind: counts[kind] for kind in kinds} == kinds
    assert kinds["abstained"] > 10
    assert Counter(table["scene"].fillna("")) == {JOBS[0]: 35, JOBS[1]: 26, JOBS[2]: 37, JOBS[3]: 63, "": 2}
    assert pd.read_csv(uninterrupted / "summary.csv").loc[0, "buildings"] == 163


def test_the_collection_and_the_mosaics_are_those_of_the_jobs(uninterrupted: Path) -> None:
    from pystac.validation import validate_dict  # noqa: PLC0415  compiles 38 grammars

    top = pystac.Collection.from_file(str(uninterrupted / "collection.json"))
    assert [item.id for item in top.get_items()] == JOBS
    for each in (top, *top.get_items()):
        assert validate_dict(each.to_dict(), extensions=[])
        for name, asset in each.assets.items():
            if name != "run.json":
                digest = hashlib.sha256(Path(asset.get_absolute_href()).read_bytes()).hexdigest()
                assert FileExtension.ext(asset).checksum == f"1220{digest}"
    assert {name for name in top.assets if name.startswith("mosaics")} == {
        f"mosaics/{name}"
        for zone in (32636, 32637)
        for name in (f"damage_{zone}.vrt", f"damage_{zone}.qml", f"probability_{zone}.vrt")
    }
    with (
        rasterio.open(uninterrupted / "mosaics/damage_32637.vrt") as mosaic,
        rasterio.open(uninterrupted / f"scenes/{JOBS[3]}/damage.tif") as raster,
    ):
        assert (mosaic.read() == raster.read()).all()
    with rasterio.open(uninterrupted / "mosaics/damage_32636.vrt") as mosaic:
        assert mosaic.width == 240  # of pre_a, below both post-disaster images
        assert len({*mosaic.files}) == 4


def test_a_second_run_assesses_nothing_and_another_model_everything(site: Path, uninterrupted: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("run.json")}
    before = products(uninterrupted)
    done = kedro(site, "run", "uninterrupted", *OPTIONS)
    assert "4 of 4 assessments are finished and reused" in done.stderr
    assert times == {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("run.json")}
    assert products(uninterrupted) == before
    torch.save(small_checkpoint(seed=1), site / "other.pth")
    other = shutil.copytree(uninterrupted, site / "other")
    done = kedro(site, "run", "other", "--footprints", "houses.gpkg", "--model", "other.pth")
    assert done.returncode == 0, done.stderr
    assert "reused" not in done.stderr
    assert products(other).keys() == before.keys()
    assert products(other)["buildings.gpkg"] != before["buildings.gpkg"]


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_workers_write_the_same_bytes(site: Path, uninterrupted: Path, kind: str) -> None:
    (site / "conf/local/globals.yml").write_text(f"executor: {{kind: {kind}}}")
    try:
        done = kedro(site, "run", str(copy_plan(site, kind)), *OPTIONS, "--workers", "2")
    finally:
        (site / "conf/local/globals.yml").unlink()
    assert done.returncode == 0, done.stderr
    assert products(site / kind) == products(uninterrupted)


@pytest.fixture
def restore(site: Path) -> Iterator[Callable[[], None]]:
    """Truncate an image; return a function that restores it."""
    image, whole = site / "post_b.tif", site / "whole.tif"
    shutil.copy2(image, whole)
    image.write_bytes(image.read_bytes()[:20_000])
    yield lambda: shutil.copy2(whole, image)
    shutil.copy2(whole, image)


def test_a_corrupt_scene_is_reported_and_the_others_finish(
    site: Path, uninterrupted: Path, restore: Callable[[], None]
) -> None:
    broken = copy_plan(site, "broken")
    done = kedro(site, "run", "broken", *OPTIONS)
    assert done.returncode == 3, done.stderr
    status = json.loads(kedro(site, "status", "broken", "--json").stdout)
    assert [status[key] for key in ("jobs", "done", "failed", "waiting")] == [4, 3, 1, 0]
    assert "post_b.tif cannot be read" in status["reasons"][JOBS[3]]
    table = pyogrio.read_dataframe(broken / "buildings.gpkg", layer="buildings")
    assert Counter(table.loc[table["scene"].isna(), "reason"]) == {"assessment failed": 63, "no images": 2}
    top = pystac.Collection.from_file(str(broken / "collection.json"))
    assert top.extra_fields["jobs"] == {"done": 3, "failed": [JOBS[3]]}
    assert [item.id for item in top.get_items()] == JOBS[:3]
    restore()
    done = kedro(site, "run", "broken", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "3 of 4 assessments are finished and reused" in done.stderr
    assert products(broken) == products(uninterrupted)


def workers_of(client: int) -> list[int]:
    server = psutil.Process(client).parent()  # its workers are forked from it, too
    return [child.pid for child in server.children() if child.pid != client]


def start(site: Path, name: str) -> Any:  # noqa: ANN401
    command = ("-c", KEDRO, "campaign", "run", name, *OPTIONS, "--workers", "2")
    return start_python(site, *command, streams=site)


def end_of(client: Any) -> int:  # noqa: ANN401
    client.join(120)
    return client.exitcode


def wait_until(holds: Callable[[], object], client: Any) -> None:  # noqa: ANN401
    end = time.monotonic() + 120
    while not holds():
        assert client.exitcode is None, "the client ended too early"
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_clients_and_workers_leave_the_same_bytes(site: Path, uninterrupted: Path) -> None:
    killed = copy_plan(site, "killed")
    moments: list[tuple[str, Callable[[], object]]] = [
        ("client", lambda: [*killed.glob("scenes/*/.work")]),
        ("worker", lambda: [*killed.glob("scenes/*.json")]),
    ]
    for victim, moment in moments:
        client = start(site, "killed")
        wait_until(moment, client)
        workers = workers_of(client.pid)
        os.kill(client.pid if victim == "client" else workers[0], signal.SIGKILL)
        assert end_of(client) == (-signal.SIGKILL if victim == "client" else 1)
        end = time.monotonic() + 20
        while any(map(psutil.pid_exists, workers)):  # they end with their client
            assert time.monotonic() < end
            time.sleep(0.05)
    assert end_of(start(site, "killed")) == 0
    assert products(killed) == products(uninterrupted)
