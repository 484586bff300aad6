"""The overview of a campaign: its numbers are those of the summary, and its size does not grow with the buildings."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from browser import BROWSER, open_browser
from xview2_siamese_unet.campaign.acquisition import Acquisition, Image
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.overview import OVERVIEW, write_overview
from xview2_siamese_unet.campaign.plan import Job
from xview2_siamese_unet.campaign.tiles import Tile
from xview2_siamese_unet.inference.summary import Tally, cell_names, sentence, summary_numbers

LABELS = ["no-damage", "minor-damage", "major-damage", "destroyed"]
EVIL = "</title><script>alert(1)</script>"


def image(tile: Tile, west: float = 0) -> Image:
    """Return an image of a tile without its western `west` metres."""
    left, bottom, right, top = tile.box.bounds
    outline = gpd.GeoSeries([shapely.box(left + west, bottom, right, top)], crs=tile.zone).to_crs(4326).item()
    return Image(Path("/nowhere.tif"), outline, f"EPSG:{tile.zone}", 0.5, None, None, ())


def task(folder: Path, tile: Tile, rank: int = 1, name: str = "post") -> Task:
    pre, post = Acquisition("pre", "2023-01-01", (image(tile),)), Acquisition(name, None, (image(tile, 500 * rank),))
    return Task(Job(f"{tile.name}_{rank:02}", tile, rank, pre, post), folder, {}, "")


def buildings(tile: Tile, number: int, seed: int) -> gpd.GeoDataFrame:
    """Return random buildings in a tile."""
    rng = np.random.default_rng(seed)
    left, bottom, right, top = tile.box.bounds
    x, y = rng.uniform(left, right - 9, number), rng.uniform(bottom, top - 9, number)
    status = rng.choice(["assessed", "abstained", "not_assessed"], number, p=[0.8, 0.1, 0.1])
    label = np.where(status == "assessed", rng.choice(LABELS, number, p=[0.6, 0.2, 0.1, 0.1]), None)
    facts = {"status": status, "reason": np.where(status == "assessed", None, "obscured"), "damage_label": label}
    return gpd.GeoDataFrame(facts, geometry=shapely.box(x, y, x + 9, y + 9), crs=tile.zone)


def numbers_of(parts: dict[Tile, gpd.GeoDataFrame]) -> dict[str, Any]:
    tally = Tally()
    for tile, frame in parts.items():
        tally.add(frame, [f"EPSG:{tile.zone} {name}" for name in cell_names(frame)])
    return summary_numbers(tally.table(), tally.warnings()) | {"reasons": tally.reasons}


def cells_of(page: str) -> list[str]:
    return re.findall(r'class="cell"[^>]*><title>([^<]*)</title>', page)


def write(folder: Path, tasks: list[Task], failed: dict[str, str], numbers: dict[str, Any]) -> str:
    write_overview(folder, tasks, failed, numbers | {"sentence": sentence(numbers)})
    return (folder / OVERVIEW).read_text(encoding="utf-8")


def test_each_cell_shows_its_counts(tmp_path: Path) -> None:
    tile = Tile(32637, 100, 1640)
    frame = buildings(tile, 500, 0)
    page = write(tmp_path, [task(tmp_path, tile)], {}, numbers_of({tile: frame}))
    corner = frame.geometry.bounds[["minx", "miny"]].add(4.5) // 500 * 500
    kinds = frame["damage_label"].where(frame["status"] == "assessed", frame["status"])
    expected = Counter()
    for (east, north), part in kinds.groupby([corner["minx"].astype(int), corner["miny"].astype(int)]):
        counts = Counter(part)
        assessed = sum(counts[label] for label in LABELS)
        damaged = assessed - counts["no-damage"]
        lines = [
            f"buildings: {len(part)}, assessed: {assessed}",
            f"damaged: {damaged} ({damaged / assessed:.1%}), destroyed among these: {counts['destroyed']}",
        ]
        if assessed < len(part):
            lines.append(f"not assessed: {counts['not_assessed']}, uncertain: {counts['abstained']}")
        lines.append(f"EPSG:32637 E{east}N{north}")
        expected["\n".join(lines)] += 1
    assert Counter(cells_of(page)) == expected
    assert len(expected) == 25
    assert page.count('href="scenes/32637_0100_1640_01/report.html" tabindex') == 25


@pytest.mark.parametrize(
    ("label", "status", "colour", "hatched"),
    [
        (["no-damage"] * 3, ["assessed"] * 3, "#56b4e9", False),
        (["destroyed", "no-damage"], ["assessed"] * 2, "#cc4c02", False),
        (["destroyed", None, None], ["assessed", "abstained", "not_assessed"], "#662506", True),
        ([None], ["not_assessed"], "#d9d9d9", True),
    ],
)
def test_cells_are_coloured_by_assessed_buildings_and_hatched_for_the_others(
    tmp_path: Path, label: list[str | None], status: list[str], colour: str, hatched: bool
) -> None:
    tile = Tile(32637, 100, 1640)
    frame = buildings(tile, 1, 0).iloc[[0] * len(label)].assign(damage_label=label, status=status, reason="hidden")
    page = write(tmp_path, [task(tmp_path, tile)], {}, numbers_of({tile: frame}))
    assert f'class="cell" fill="{colour}"' in page
    assert ('class="hatch"' in page) == hatched


def test_jobs_are_outlines_with_links_and_failures_with_reasons(tmp_path: Path) -> None:
    tile, other = Tile(32637, 100, 1640), Tile(32636, 300, 1640)
    tasks = [task(tmp_path, tile), task(tmp_path, tile, 2), task(tmp_path, other)]
    failed = {tasks[2].job.name: f"a.tif cannot be read {EVIL}"}
    page = write(tmp_path, tasks, failed, numbers_of({tile: buildings(tile, 9, 0)}))
    links = re.findall(r'<a href="scenes/([^"]*)/report.html"><path', page)
    assert links == [tasks[1].job.name, tasks[0].job.name]  # the first choice is on top
    assert f"scenes/{tasks[2].job.name}" not in page
    assert page.count("a.tif cannot be read &lt;/title&gt;&lt;script&gt;") == 2
    left, right = (
        [float(point.split()[0]) for point in re.split("[ML]", path[:-1]) if point]
        for path in re.findall(r'class="job" d="([^"]*)"', page)[::-1]
    )
    assert (max(right) - min(right)) / (max(left) - min(left)) == pytest.approx(1500 / 2000, abs=0.1)


def test_text_is_escaped_and_buildings_without_a_polygon_are_counted(tmp_path: Path) -> None:
    tile = Tile(32637, 100, 1640)
    lost = {"level": "cell", "name": "nowhere", "buildings": 1}
    numbers = numbers_of({tile: buildings(tile, 9, 0)})
    numbers["cells_500_m"].append(lost)
    numbers["all"]["buildings"] += 1
    numbers |= {"warnings": [EVIL], "reasons": {"not_assessed": {EVIL: 1}, "abstained": {}}}
    numbers["zones"] = [{**numbers["all"], "name": EVIL}]
    page = write(tmp_path, [task(tmp_path, tile, name=EVIL)], {}, numbers)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6
    assert "Not on the map, because they have no polygon: 1" in page


@pytest.mark.slow
def test_many_cells_are_merged_into_larger_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spread = {Tile(32637, 100 + n % 20, 1600 + n // 20): int(count) for n, count in enumerate(rng.integers(5, 60, 400))}
    parts = {tile: buildings(tile, count, count) for tile, count in spread.items()}
    numbers = numbers_of(parts)
    assert len(numbers["cells_500_m"]) > 4000
    page = write(tmp_path, [task(tmp_path, tile) for tile in parts], {}, numbers)
    cells = cells_of(page)
    assert 400 <= len(cells) <= 2000
    assert f"{len(cells):,} cells of 2.5 km" in page or f"{len(cells):,} cells of 1 km" in page
    assert sum(int(cell.split(", ")[0].removeprefix("buildings: ").replace(",", "")) for cell in cells) == sum(
        spread.values()
    )


def test_cells_touch_across_utm_zones_and_180_degrees(tmp_path: Path) -> None:
    """Zone 60 borders on zone 1: two cells at the border touch, and neither spans the Earth."""
    parts = {}
    for zone, longitude in ((32660, 179.999), (32601, -179.999)):
        x, y = gpd.GeoSeries.from_xy([longitude], [10.0], crs=4326).to_crs(zone).get_coordinates().iloc[0]
        tile = Tile(zone, int(x // 2500), int(y // 2500))
        parts[tile] = buildings(tile, 1, 0).set_geometry([shapely.box(x, y, x + 9, y + 9)], crs=zone)
    page = write(tmp_path, [task(tmp_path, tile) for tile in parts], {}, numbers_of(parts))
    west, east = (
        np.array([point.split() for point in re.split("[ML]", path[:-1]) if point], float)[:, 0]
        for path in re.findall(r'class="cell"[^>]* d="([^"]*)"', page)
    )
    first, second = sorted((west, east), key=min)
    assert 0 < first.min() < first.max() <= second.min() < second.max() < 1000


def many_tasks(folder: Path, tiles: list[Tile]) -> list[Task]:
    """Return a job for each tile, without images, so that nothing is projected."""
    pre, post = Acquisition("pre", "2023-01-01", ()), Acquisition("post", "2023-02-08", ())
    return [Task(Job(f"{tile.name}_01", tile, 1, pre, post), folder, {}, "") for tile in tiles]


def numbers_of_cells(tiles: list[Tile]) -> dict[str, Any]:
    """Return counts of one cell in each tile: a building of each class and an obscured one."""
    counts = dict.fromkeys([*LABELS, "abstained", "not_assessed", "obscured"], 1) | {"buildings": 6}
    cells = [
        {"level": "cell", "name": f"EPSG:{tile.zone} E{tile.column * 2500}N{tile.row * 2500}", **counts}
        for tile in tiles
    ]
    whole = {key: value * len(tiles) for key, value in counts.items()}
    reasons = {"not_assessed": {"obscured": len(tiles)}, "abstained": {"uncertain": len(tiles)}}
    numbers = {"note": "", "warnings": [], "all": whole, "classes": [], "cells_500_m": cells, "zones": []}
    return numbers | {"reasons": reasons}


@pytest.mark.parametrize("gap", [1, 2, 7])
@pytest.mark.parametrize("count", [1000, 5000])
def test_the_page_of_many_jobs_stays_below_one_megabyte(tmp_path: Path, gap: int, count: int) -> None:
    """With gaps, the outlines of jobs cannot be joined; every third job failed."""
    tiles = [Tile(32636 + n % 2, 100 + n // 2 % 28 * gap, 100 + n // 56 * gap) for n in range(count)]
    tasks = many_tasks(tmp_path, tiles)
    reason = "the image cannot be read: it ends after 1,000 of 2,000 bytes. Copy it again. " * 3
    page = write(tmp_path, tasks, {task.job.name: reason for task in tasks[::3]}, numbers_of_cells(tiles))
    assert len(page.encode()) < 1_000_000
    assert 300 <= len(cells_of(page)) <= 2000
    done, failed = count - len(tasks[::3]), len(tasks[::3])
    assert re.findall(r'class="job[^>]*><title>([^<]*)', page) == [
        f"{done:,} finished jobs",
        f"{failed:,} failed jobs",
    ]
    assert page.count(reason) == 200


def test_outlines_of_many_jobs_are_joined_if_they_touch(tmp_path: Path) -> None:
    """A block of 20 x 20 tiles and a single tile far north: two rings with areas of 400 to 1."""
    tiles = [Tile(32637, 200 + n % 20, 100 + n // 20) for n in range(400)] + [Tile(32637, 200, 150)]
    page = write(tmp_path, many_tasks(tmp_path, tiles), {}, numbers_of_cells(tiles))
    (path,) = re.findall(r'class="job" d="([^"]*)"', page)
    rings = [
        shapely.Polygon([tuple(map(float, p.split())) for p in ring.split("L")]) for ring in path[1:-1].split("ZM")
    ]
    small, large = sorted(ring.area for ring in rings)
    assert large / small == pytest.approx(400, rel=0.02)


@pytest.mark.parametrize(("count", "drawn"), [(200, 200), (201, 1)])
def test_a_few_jobs_are_drawn_separately(tmp_path: Path, count: int, drawn: int) -> None:
    tiles = [Tile(32637, 200 + n % 20, 100 + n // 20) for n in range(count)]
    tasks = [task(tmp_path, tile) for tile in tiles]
    page = write(tmp_path, tasks, {}, numbers_of_cells(tiles))
    assert len(re.findall(r'class="job" d="M[^"]+Z"', page)) == drawn


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_hundred_thousand_buildings_open_in_five_seconds(tmp_path: Path) -> None:
    tiles = [Tile(zone, 100 + n % 8, 1640 + n // 8) for zone in (32636, 32637) for n in range(40)]
    parts = {tile: buildings(tile, 1250, number) for number, tile in enumerate(tiles)}
    page = write(tmp_path, [task(tmp_path, tile) for tile in tiles], {}, numbers_of(parts))
    assert len(page.encode()) < 1_000_000
    assert ">100,000</b>" in page
    with open_browser(tmp_path / "profile") as tab:
        start = time.monotonic()
        tab.open(tmp_path / OVERVIEW, ready="document.querySelector('.map').getBoundingClientRect().width > 500")
        assert time.monotonic() - start < 5
        assert tab.value("document.querySelectorAll('.cell').length") == len(cells_of(page))
        assert tab.requests() == [(tmp_path / OVERVIEW).as_uri()]
        assert tab.complaints() == []
