from __future__ import annotations

import pytest
import shapely
from shapely import box

from xview2_siamese_unet.campaign.selection import Choice, View, choose, choose_every_day, in_order

WHOLE = box(0, 0, 100, 100)


def view(name: str, taken: str | None = "2023-02-08", ground: shapely.Polygon = WHOLE, **facts: float) -> View:
    return View(name, taken, ground, 0.5, **facts)


def anywhere(_pre: str | None, _post: str) -> shapely.Polygon:
    return WHOLE


def names(choices: list[Choice]) -> list[tuple[str | None, str | None]]:
    return [(choice.pre.id, choice.post.id) for choice in choices]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (view("b", "2023-02-09"), view("a", "2023-02-08")),
        (view("b", "2023-02-08", cloud=0.15, off_nadir=30), view("a", "2023-02-09", cloud=0.16)),
        (view("b", "2023-02-08", cloud=0.1), view("a", "2023-02-09", off_nadir=30.1)),
        (view("b", "2023-02-08T23:59:59Z", cloud=0.01), view("a", "2023-02-08T08:00:00Z", cloud=0.02)),
        (view("b", "2023-02-08T08:00:00Z", cloud=0.01), view("a", "2023-02-08T23:59:59Z", cloud=0.02)),
        (view("b", cloud=0.1, off_nadir=9), view("a", cloud=0.1, off_nadir=10)),
        (view("b", cloud=0.15), view("a")),
        (view("b"), view("a", cloud=0.2)),
        (view("b"), view("a", None)),
        (view("a", cloud=0.5), view("b", cloud=0.6)),
        (view("a"), view("b")),
    ],
)
def test_the_better_view_comes_first(first: View, second: View) -> None:
    assert in_order([second, first]) == in_order([first, second]) == [first, second]


def test_each_part_of_the_ground_gets_the_first_pair_that_shows_it() -> None:
    west, east = box(0, 0, 60, 100), box(40, 0, 100, 100)
    after = [view("late", "2023-02-10", west), view("early", "2023-02-08", east)]
    before = [view("near", "2023-01-01", box(0, 0, 100, 50)), view("far", "2022-01-01")]
    choices, missing = choose(before, after, anywhere)
    assert names(choices) == [("near", "late"), ("far", "late"), ("near", "early"), ("far", "early")]
    grounds = [box(0, 0, 60, 50), box(0, 50, 60, 100), box(60, 0, 100, 50), box(60, 50, 100, 100)]
    assert all(choice.ground.equals(ground) for choice, ground in zip(choices, grounds, strict=True))
    assert missing == 0


def test_the_next_post_disaster_image_is_used_if_the_first_has_no_pre_disaster_image() -> None:
    after = [view("late", "2023-02-10"), view("early", "2023-02-08")]
    before = [view("pre", "2022-01-01")]
    choices, missing = choose(before, after, lambda _pre, post: WHOLE if post == "early" else None)
    assert names(choices) == [("pre", "early")]
    assert missing == 0
    choices, missing = choose([view("pre", "2022-01-01", box(0, 0, 25, 100))], after, anywhere)
    assert names(choices) == [("pre", "late")]
    assert missing == 7500


def test_a_sliver_gets_no_job_and_is_counted() -> None:
    after = [view("late", "2023-02-10", box(0, 0, 99.9, 100)), view("early", "2023-02-08")]
    choices, missing = choose([view("pre", "2022-01-01")], after, anywhere)
    assert names(choices) == [("pre", "late")]
    assert missing == pytest.approx(10)


def test_images_that_only_touch_make_no_pair() -> None:
    choices, missing = choose(
        [view("pre", ground=box(0, 0, 50, 100))], [view("post", ground=box(50, 0, 100, 100))], anywhere
    )
    assert choices == []
    assert missing == 5000


def test_the_history_adds_each_remaining_day_once() -> None:
    before = [view("pre", "2023-01-01")]
    after = [
        view("east", "2023-02-09", box(50, 0, 100, 100)),
        view("all", "2023-02-08", off_nadir=9),
        view("same day", "2023-02-08T10:00:00Z", off_nadir=5, ground=box(0, 0, 30, 100)),
        view("cloudy", "2023-02-10", cloud=0.9),
        view("undated", None),
    ]
    chosen, _ = choose(before, after, anywhere)
    assert names(chosen) == [("pre", "east"), ("pre", "same day"), ("pre", "all")]
    more = choose_every_day(before, after, anywhere, chosen)
    assert names(more) == [("pre", "undated"), ("pre", "cloudy")]
    assert [choice.ground.area for choice in more] == [10_000, 10_000]
    assert choose_every_day(before, after[:1], anywhere, chosen) == []
