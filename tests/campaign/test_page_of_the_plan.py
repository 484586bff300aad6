"""The page of a plan: a few jobs are drawn separately, many as squares, and its size is bounded."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import shapely
from shapely import affinity

from xview2_siamese_unet.campaign.acquisition import Acquisition, Image
from xview2_siamese_unet.campaign.catalogue import Catalogue
from xview2_siamese_unet.campaign.page import plan_page
from xview2_siamese_unet.campaign.plan import Job, Plan, PlannedJob
from xview2_siamese_unet.campaign.selection import View
from xview2_siamese_unet.campaign.tiles import Tile


def acquisition(name: str) -> Acquisition:
    image = Image(Path("/nowhere.tif"), shapely.box(36, 1, 36.1, 1.1), "EPSG:32637", 0.5, None, None, ())
    return Acquisition(name, "2023-01-01", (image,))


def make(count: int, gap: int = 1) -> Plan:
    """Return a plan with a job for each tile; every fourth has the second of three post-disaster acquisitions."""
    before, after = ({name: acquisition(name) for name in names} for names in (["pre"], ["post_a", "post_b", "post_c"]))
    jobs = []
    for n in range(count):
        tile = Tile(32637, 100 + n % 56 * gap, 100 + n // 56 * gap)
        post = after["post_b" if n % 4 == 0 else "post_a"]
        ground = affinity.translate(shapely.box(36, 1, 36.02, 1.02), n % 56 * 0.02, n // 56 * 0.02)
        view = View(post.id, post.taken, tile.box, 0.5)
        jobs.append(PlannedJob(Job(f"{tile.name}_01", tile, 1, before["pre"], post), view, ground, 6.25, 25.0))
    return Plan(Catalogue(before, after), tuple(jobs), ("rule",), ())


def titles(page: str) -> list[str]:
    return re.findall(r'class="job"[^>]* d="M[^"]*Z"><title>([^<]*)', page)


def test_a_few_jobs_are_drawn_separately() -> None:
    plan = make(40)
    assert [title.split(":")[0] for title in titles(plan_page(plan, "few"))] == [
        planned.job.name for planned in plan.jobs[::-1]
    ]


@pytest.mark.parametrize("gap", [1, 2])
def test_many_jobs_are_drawn_as_squares_in_less_than_one_megabyte(gap: int) -> None:
    plan = make(5000, gap)
    page = plan_page(plan, "many")
    assert len(page.encode()) < 1_000_000
    squares = [re.fullmatch(r"([\d,]+) jobs, of (\w+): ([\d,]+)", title) for title in titles(page)]
    assert 200 <= len(squares) <= 1000
    tiles = 1000 * int(re.findall(r"Squares of (\d+) km", page)[0]) // 2500
    expected: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for planned in plan.jobs:
        expected[planned.job.tile.column // tiles, planned.job.tile.row // tiles][planned.job.post.id] += 1
    assert Counter((int(each[1]), int(each[3])) for each in squares if each) == Counter(
        (posts.total(), max(posts.values())) for posts in expected.values()
    )
    assert {each[2] for each in squares if each} == {posts.most_common(1)[0][0] for posts in expected.values()}


def test_only_acquisitions_with_the_most_jobs_are_listed() -> None:
    plan = make(40)
    more = {f"other{number:05}": acquisition(f"other{number:05}") for number in range(5000)}
    catalogue = Catalogue({**more, **plan.catalogue.before}, plan.catalogue.after)
    page = plan_page(Plan(catalogue, plan.jobs, (), ()), "many")
    assert len(page.encode()) < 1_000_000
    for name, jobs in (("pre", 40), ("post_a", 30), ("post_b", 10)):
        assert re.search(rf"{name}</th>.*<td>{jobs}</td></tr>", page)
    assert "other04999" not in page
    assert 'class="pre"' not in page
