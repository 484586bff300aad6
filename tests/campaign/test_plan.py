from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from shapely import Point

from made_campaign import tile_at
from made_catalogue import BORDER, EVENT, LATITUDE, Made, pair_by_rules, write_catalogue
from xview2_siamese_unet.campaign.acquisition import Acquisition, Image, is_after
from xview2_siamese_unet.campaign.catalogue import Catalogue, read_catalogue
from xview2_siamese_unet.campaign.plan import Plan, make_plan
from xview2_siamese_unet.campaign.tiles import SIDE, Tile

FOOTPRINTS = 3000


@pytest.fixture(scope="module")
def plan(made: Made) -> Plan:
    return make_plan(read_catalogue(made.top))


@pytest.fixture(scope="module")
def footprints() -> list[Point]:
    rng = np.random.default_rng(3)
    metres = pyproj.Proj(proj="aeqd", lon_0=BORDER, lat_0=LATITUDE)
    return [Point(metres(*each, inverse=True)) for each in rng.uniform((-4200, -3800), (4000, 1700), (FOOTPRINTS, 2))]


def test_the_view_of_every_footprint_follows_the_rules(made: Made, plan: Plan, footprints: list[Point]) -> None:
    tree = shapely.STRtree([job.ground for job in plan.jobs])
    chosen = {number: [] for number in range(FOOTPRINTS)}
    for footprint, job in tree.query(footprints, predicate="within").T.tolist():
        chosen[footprint].append(plan.jobs[job].job)
    wrong = []
    for point, jobs in zip(footprints, chosen.values(), strict=True):
        expected = pair_by_rules(made, point)
        pairs = [(job.pre.id, job.post.id) for job in jobs if job.pre is not None]
        if pairs != ([] if expected is None else [expected]):
            wrong.append((point, pairs, expected))
        assert all(job.tile == tile_at(point.x, point.y) for job in jobs)
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


def test_ground_imaged_before_and_after_the_event_is_planned_once(made: Made, plan: Plan) -> None:
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


def test_megapixels_count_what_both_images_show_of_the_tile(plan: Plan) -> None:
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
    started = time.process_time()  # not wall time: other tests run in parallel
    plan = make_plan(read_catalogue(made.top))
    assert time.process_time() - started < 5
    assert len(plan.jobs) > 100


def in_memory(name: str, taken: str, *parts: tuple[shapely.Polygon, float | None]) -> Acquisition:
    """Return an acquisition of images, each with an outline in degrees and a cloud cover."""
    images = [
        Image(Path(f"{name}{number}.tif"), outline, "EPSG:4326", 0.5, cloud)
        for number, (outline, cloud) in enumerate(parts)
    ]
    return Acquisition(name, taken, tuple(images))


def catalogue_of(*acquisitions: Acquisition) -> Catalogue:
    before, after = (
        {each.id: each for each in acquisitions if each.taken and is_after(each.taken, EVENT) is late}
        for late in (False, True)
    )
    return Catalogue(before, after, event=EVENT)


def test_clouds_are_averaged_over_the_tile_by_area() -> None:
    west, south, east, north = Tile(32637, 180, 1600).box.bounds
    to_degrees = pyproj.Transformer.from_crs(32637, 4326, always_xy=True)

    def box_in_degrees(*bounds: float) -> shapely.Polygon:
        dense = shapely.segmentize(shapely.box(*bounds), 100)
        return shapely.transform(dense, lambda xy: np.column_stack(to_degrees.transform(*xy.T)))

    quarter = box_in_degrees(west, south, west + SIDE / 4, north)
    rest = box_in_degrees(west + SIDE / 4, south, east, north)
    plan = make_plan(
        catalogue_of(
            in_memory("pre", "2023-01-01", (quarter, None), (rest, None)),
            in_memory("cloudy_elsewhere", "2023-02-08", (rest, 0.12), (quarter, None), (quarter, 0.08)),
            in_memory("clear", "2023-02-07", (rest, 0.0), (quarter, 0.0)),
        )
    )
    first = next(planned for planned in plan.jobs if planned.job.tile == Tile(32637, 180, 1600))
    assert first.job.post.id == "cloudy_elsewhere"
    assert first.view.cloud == pytest.approx((3 * 0.12 + 0.08) / 4, rel=1e-4)
    assert first.view.off_nadir is None


def test_an_event_across_180_degrees_and_the_equator_is_planned_in_four_zones() -> None:
    split = shapely.union_all([shapely.box(179.98, -0.02, 180, 0.02), shapely.box(-180, -0.02, -179.98, 0.02)])
    beyond = shapely.box(179.98, -0.02, 180.02, 0.02)
    plan = make_plan(
        catalogue_of(in_memory("pre", "2023-01-01", (split, 0)), in_memory("post", "2023-02-08", (beyond, 0)))
    )
    assert {planned.job.tile.zone for planned in plan.jobs} == {32601, 32660, 32701, 32760}
    area = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(beyond)[0]) / 1e6
    assert sum(planned.square_km for planned in plan.jobs) == pytest.approx(area, rel=0.003)
    assert plan.warnings == ()


def test_the_history_has_a_job_for_each_day_that_shows_a_tile(made: Made, plan: Plan) -> None:
    more = make_plan(read_catalogue(made.top), history=True)
    (first, *_), (again, *_) = plan.jobs, [each for each in more.jobs if each.job.tile == plan.jobs[0].job.tile]
    assert (first.job, first.ground) == (again.job, again.ground)
    assert {each.job for each in plan.jobs} < {each.job for each in more.jobs}
    days = {(each.job.tile, (each.job.post.taken or "")[:10]) for each in more.jobs}
    early = shapely.union_all([o for f in made.acquisitions if f["datetime"] < EVENT for o in f["outlines"]])
    for facts in made.acquisitions:
        for point in (outline.intersection(early).representative_point() for outline in facts["outlines"]):
            if facts["datetime"] >= EVENT and not point.is_empty:
                assert (tile_at(point.x, point.y), facts["datetime"][:10]) in days
    assert "history" in more.rules[-1]
