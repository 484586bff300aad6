from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from shapely import Point

from made_catalogue import BORDER, EVENT, LATITUDE, Made, write_catalogue
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import Plan, make_plan
from xview2_siamese_unet.campaign.tiles import SIDE, tile_at

FOOTPRINTS = 3000


@pytest.fixture(scope="module")
def plan(made: Made) -> Plan:
    return make_plan(read_catalogue(made.top))


@pytest.fixture(scope="module")
def footprints() -> list[Point]:
    rng = np.random.default_rng(3)
    metres = pyproj.Proj(proj="aeqd", lon_0=BORDER, lat_0=LATITUDE)
    return [Point(metres(*each, inverse=True)) for each in rng.uniform((-4200, -3800), (4000, 1700), (FOOTPRINTS, 2))]


def by_hand(made: Made, place: Point) -> tuple[str, str] | None:
    """Return the pair for a place by the rules, from what the generator wrote and from nothing of the project."""
    shown = [facts for facts in made.acquisitions if any(outline.contains(place) for outline in facts["outlines"])]
    shown.sort(key=lambda facts: (facts["cloud"], facts["off_nadir"], facts["id"]))
    shown.sort(key=lambda facts: facts["datetime"][:10], reverse=True)
    shown.sort(key=lambda facts: facts["cloud"] > 15 or facts["off_nadir"] > 30)
    before, after = ([f["id"] for f in shown if (f["datetime"] >= EVENT) == late] for late in (False, True))
    return (before[0], after[0]) if before and after else None


def test_the_view_of_every_footprint_is_that_of_the_rules(made: Made, plan: Plan, footprints: list[Point]) -> None:
    tree = shapely.STRtree([job.ground for job in plan.jobs])
    chosen = {number: [] for number in range(FOOTPRINTS)}
    for footprint, job in tree.query(footprints, predicate="within").T.tolist():
        chosen[footprint].append(plan.jobs[job].job)
    wrong = []
    for place, jobs in zip(footprints, chosen.values(), strict=True):
        expected = by_hand(made, place)
        found = [(job.pre.id, job.post.id) for job in jobs if job.pre is not None]
        if found != ([] if expected is None else [expected]):
            wrong.append((place, found, expected))
        assert all(job.tile == tile_at(place.x, place.y) for job in jobs)
    assert wrong == []
    assert sum(bool(jobs) for jobs in chosen.values()) > FOOTPRINTS / 2
    assert {job.tile.zone for jobs in chosen.values() for job in jobs} == {32636, 32637}


def test_a_job_has_the_images_that_meet_its_tile(made: Made, plan: Plan) -> None:
    for planned in plan.jobs:
        job = planned.job
        assert job.pre is not None
        for acquisition in (job.pre, job.post):
            for image in acquisition.images:
                to_zone = pyproj.Transformer.from_crs(4326, job.tile.zone, always_xy=True)
                outline = shapely.transform(image.outline, lambda xy, t=to_zone: np.column_stack(t.transform(*xy.T)))
                assert outline.intersects(job.tile.box)
                assert image.path.is_relative_to(made.top.parent.resolve())
    names = [planned.job.name for planned in plan.jobs]
    assert len({*names}) == len(names)


def test_ground_before_and_after_the_event_is_planned_once(made: Made, plan: Plan) -> None:
    late = [facts["datetime"] >= EVENT for facts in made.acquisitions]
    before, after = (
        shapely.union_all(
            [o for f, is_late in zip(made.acquisitions, late, strict=True) if is_late == side for o in f["outlines"]]
        )
        for side in (False, True)
    )
    geod = pyproj.Geod(ellps="WGS84")
    both = abs(geod.geometry_area_perimeter(before.intersection(after))[0])
    # Metres of UTM are 0.9996 to 1.001 metres on the ground.
    assert sum(planned.square_km for planned in plan.jobs) * 1e6 == pytest.approx(both, rel=0.003)
    assert shapely.union_all([planned.ground for planned in plan.jobs]).symmetric_difference(
        before.intersection(after)
    ).area == pytest.approx(0, abs=1e-8)


def test_megapixels_are_what_both_images_show_of_the_tile(plan: Plan) -> None:
    for planned in plan.jobs:
        assert planned.square_km * 4 - 1e-6 <= planned.megapixels <= SIDE**2 * 4 / 1e6 + 1e-6


def test_ground_without_an_image_before_the_event_is_counted(tmp_path: Path) -> None:
    made = write_catalogue(tmp_path, count=3, side=2000)
    for path in tmp_path.glob("ard/*pre000/0.json"):
        path.unlink()
    plan = make_plan(read_catalogue(made.top))
    (warning,) = [text for text in plan.warnings if "km²" in text]
    geod = pyproj.Geod(ellps="WGS84")
    pre, post = (
        shapely.union_all([o for f in made.acquisitions if f["id"] in names for o in f["outlines"]])
        for names in (plan.catalogue.before, plan.catalogue.after)
    )
    missing = abs(geod.geometry_area_perimeter(post.difference(pre))[0]) / 1e6
    assert float(warning.split()[-2]) == pytest.approx(missing, rel=0.003)


@pytest.mark.slow
def test_two_hundred_items_are_planned_in_five_seconds(tmp_path: Path) -> None:
    made = write_catalogue(tmp_path, count=10, tiles=10)
    started = time.perf_counter()
    plan = make_plan(read_catalogue(made.top))
    assert time.perf_counter() - started < 5
    assert len(plan.jobs) > 100
