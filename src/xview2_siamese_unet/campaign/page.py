"""`plan.html`, the page of a plan."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from xview2_siamese_unet.campaign.acquisition import Acquisition
from xview2_siamese_unet.campaign.plan import Plan, PlannedJob
from xview2_siamese_unet.campaign.plan_files import plan_row
from xview2_siamese_unet.campaign.tiles import Corner, around, length, side_for, square
from xview2_siamese_unet.report.plan import PlanContent, Square, render_plan

_MOST: Final = 1000
"""Largest number of jobs that the map draws one by one, and of outlines of images that it draws."""


def plan_page(plan: Plan, title: str) -> str:
    """Return the page of a plan."""
    rows = [plan_row(job) for job in plan.jobs]
    squares, side_of_squares = _squares(plan.jobs) if len(plan.jobs) > _MOST else ([], "")
    outlines = [image.outline for each in plan.catalogue.before.values() for image in each.images]
    jobs_of = {key: Counter(row[key] for row in rows) for key in ("pre", "post")}
    sides = {"before": ("pre", plan.catalogue.before), "after": ("post", plan.catalogue.after)}
    hours, gigabytes = (sum(row[key] for row in rows) / unit for key, unit in (("core_minutes", 60), ("disk_mb", 1000)))
    return render_plan(
        PlanContent(
            title=title,
            event=plan.catalogue.event,
            jobs=rows,
            grounds=[job.ground for job in plan.jobs],
            outlines=outlines if len(outlines) <= _MOST else (),
            acquisitions=[
                _row(each, side, jobs_of[key][each.id])
                for side, (key, acquisitions) in sides.items()
                for each in sorted(acquisitions.values(), key=lambda one: (one.taken or "", one.id))
            ],
            totals={
                "jobs": f"{len(rows):,}",
                "tiles": f"{len({row['tile'] for row in rows}):,}",
                "km² to assess": f"{sum(job.square_km for job in plan.jobs):,.1f}",
                "hours on one core": f"{hours:,.1f}",
                "GB of disk": f"{gigabytes:,.1f}",
            },
            rules=plan.rules,
            warnings=plan.warnings,
            squares=squares,
            side=side_of_squares,
        )
    )


def _squares(jobs: Sequence[PlannedJob]) -> tuple[list[Square], str]:
    """Return the squares that hold many jobs, and their side."""
    side = side_for({planned.job.tile.corner for planned in jobs}, _MOST)
    counts: defaultdict[Corner, Counter[str]] = defaultdict(Counter)
    for planned in jobs:
        counts[around(planned.job.tile.corner, side)][planned.job.post.id] += 1
    squares = []
    for corner, posts in counts.items():
        ((post, count),) = posts.most_common(1)
        squares.append(Square(square(corner, side), post, f"{posts.total():,} jobs, of {post}: {count:,}"))
    return squares, length(side)


def _row(acquisition: Acquisition, side: str, jobs: int) -> dict[str, Any]:
    images = acquisition.images
    return {
        "id": acquisition.id,
        "side": side,
        "taken": acquisition.taken,
        "images": len(images),
        "pixel": max(image.pixel for image in images),
        "cloud": _mean(None if image.cloud is None else 100 * image.cloud for image in images),
        "off_nadir": _mean(image.off_nadir for image in images),
        "jobs": jobs,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
