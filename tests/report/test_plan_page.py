from __future__ import annotations

import re

import numpy as np
import pytest
import shapely

from xview2_siamese_unet.report.plan import PlanContent, render_plan

EVIL = "</title><script>alert(1)</script>"


def content(*grounds: shapely.Geometry, name: str = "post") -> PlanContent:
    job = {"pre": "pre", "post": name, "pre_date": None, "post_date": "2023-02-08", "chosen_km2": 1.25}
    job |= {"megapixels": 25.0, "core_minutes": 1.6, "disk_mb": 50.0}
    row = {"id": name, "side": "after", "taken": None, "images": 1, "pixel": 0.5, "cloud": None, "off_nadir": 12.4}
    jobs = [{**job, "job": f"job {number}"} for number in range(len(grounds))]
    return PlanContent(
        name, "2023-02-06", jobs, grounds, grounds[:1], [{**row, "jobs": 1}], {"jobs": "1"}, [name], [name]
    )


def drawn(page: str) -> list[shapely.Polygon]:
    """Return the jobs in their order; the first is drawn last, on top."""
    paths = re.findall(r'class="job"[^>]* d="([^"]*)"', page)[::-1]
    rings = [[np.array(ring.split("L")) for ring in path[1:-1].split("ZM")] for path in paths]
    return [shapely.Polygon(*[[tuple(map(float, p.split())) for p in ring] for ring in each][:1]) for each in rings]


def test_the_map_is_north_up_and_true_to_scale() -> None:
    page = render_plan(content(shapely.box(36, 60, 36.2, 60.1), shapely.box(36.2, 60, 36.4, 60.1)))
    west, east = drawn(page)
    assert west.bounds[:2] == (0, 0)
    assert east.bounds[0] == pytest.approx(west.bounds[2])
    width, height = west.bounds[2], west.bounds[3]
    assert width / height == pytest.approx(2 * np.cos(np.radians(60.05)), rel=0.01)
    (north, south) = drawn(render_plan(content(shapely.box(36, 60.1, 36.2, 60.2), shapely.box(36, 60, 36.2, 60.1))))
    assert north.bounds[3] == pytest.approx(south.bounds[1])


def test_a_map_across_180_degrees_is_continuous() -> None:
    parts = shapely.box(179.9, -16, 180, -15.9), shapely.box(-180, -16, -179.9, -15.9)
    west, east = drawn(render_plan(content(*parts)))
    assert west.bounds[2] == pytest.approx(east.bounds[0], abs=0.2)


def test_holes_and_parts_are_drawn() -> None:
    holed = shapely.box(0, 0, 1, 1).difference(shapely.box(0.2, 0.2, 0.4, 0.4))
    page = render_plan(content(shapely.MultiPolygon([holed, shapely.box(2, 0, 3, 1)])))
    (path,) = re.findall(r'class="job"[^>]* d="([^"]*)"', page)
    assert path.count("M") == path.count("Z") == 3


def test_text_is_escaped() -> None:
    page = render_plan(content(shapely.box(0, 0, 1, 1), name=EVIL))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
