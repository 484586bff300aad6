from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import geopandas as gpd
import pytest
import rasterio

from made_campaign import EDGE, JOBS, PIXEL, write_campaign
from xview2_siamese_unet.campaign.jobs import Task, is_finished, make_task, read_state, run_task
from xview2_siamese_unet.campaign.plan_files import read_plan
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.source import read_source

Assess = Callable[..., None]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_campaign(tmp_path_factory.mktemp("planned"))


@pytest.fixture
def make(planned: Path, tmp_path: Path) -> Callable[..., list[Task]]:
    """Return a function that makes the tasks of the plan in the folder of the test."""

    def tasks(made_with: str = "model and settings") -> list[Task]:
        return [make_task(job, tmp_path, None, {"model": "m"}, made_with) for job in read_plan(planned)]

    return tasks


def finish(pre: object, post: object, out: Path, **given: object) -> None:
    out.mkdir(parents=True)
    (out / "run.json").write_text('{"run_id": "1", "products": {}}')


def refuse(*_: object, **__: object) -> None:
    raise DataError("post.tif cannot be read.", hint="Copy it again.")


def test_the_jobs_are_those_that_the_tests_expect(make: Callable[..., list[Task]]) -> None:
    assert [task.job.name for task in make()] == JOBS


def test_a_finished_job_is_reused_until_its_settings_or_images_change(
    make: Callable[..., list[Task]], planned: Path
) -> None:
    task, other, *_ = make()
    assert not is_finished(task)
    assert run_task(finish, task) is None
    assert is_finished(task)
    assert not is_finished(other)
    assert not is_finished(make("another model")[0])
    post = task.job.post.images[0].path
    before = post.stat()
    os.utime(post, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert not is_finished(make()[0])
    os.utime(post, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_finished(make()[0])
    sidecar = post.with_name(f"{post.name}.aux.xml")
    sidecar.write_text("<PAMDataset></PAMDataset>")
    assert not is_finished(make()[0])
    sidecar.unlink()
    (task.scene / "run.json").unlink()
    assert not is_finished(task)


def test_a_failed_job_keeps_its_error_and_is_tried_again(make: Callable[..., list[Task]]) -> None:
    task = make()[0]
    sentence = "post.tif cannot be read. Copy it again."
    assert run_task(refuse, task) == sentence
    state = read_state(task.folder, task.job)
    assert state is not None
    assert state.error == sentence
    assert not is_finished(task)
    assert run_task(finish, task) is None
    assert is_finished(task)


def test_a_bug_is_raised_and_not_recorded_as_a_failed_job(make: Callable[..., list[Task]]) -> None:
    task = make()[0]
    with pytest.raises(ZeroDivisionError):
        run_task(lambda *_, **__: 1 / 0, task)
    assert read_state(task.folder, task.job) is None


def test_the_area_of_interest_is_the_tile_with_a_margin_of_a_hundred_metres(make: Callable[..., list[Task]]) -> None:
    area = gpd.read_file(make()[0].arguments["aoi"]).to_crs(32636)
    west, south, east, north = area.total_bounds
    assert (west, south, east, north) == pytest.approx((EDGE - 2600, 4_097_400, EDGE + 100, 4_100_100), abs=0.01)


@pytest.mark.parametrize("linked", [True, False])
def test_several_rasters_with_the_same_name_become_one_image(
    make: Callable[..., list[Task]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    task = make()[0]
    first = task.job.post.images[0]
    (tmp_path / "east").mkdir()
    second = tmp_path / "east" / first.path.name
    with (
        rasterio.open(first.path) as source,
        rasterio.open(
            second,
            "w",
            **{
                **source.profile,
                "transform": source.transform.translation(EDGE + 40, 4_098_790) @ source.transform.scale(PIXEL, -PIXEL),
            },
        ) as target,
    ):
        target.write(source.read())
    shutil.copy(first.path, second.with_name(second.name + ".msk"))
    if not linked:
        monkeypatch.setattr("os.symlink", Mock(side_effect=OSError(errno.EINVAL, "a required privilege is not held")))
    post = replace(task.job.post, images=(first, replace(first, path=second)))
    passed: list[Path] = []
    run_task(lambda pre, post, out, **_: passed.extend((pre, post)), task._replace(job=replace(task.job, post=post)))
    assert passed[0].name == "pre_a.tif"
    assert sorted(path.name for path in passed[1].iterdir()) == ["0001.tif", "0002.tif", "0002.tif.msk"]
    assert {path.is_symlink() for path in passed[1].iterdir()} == {linked}
    assert len(read_source(passed[1]).tiles) == 2


def test_a_vrt_among_several_rasters_is_refused(make: Callable[..., list[Task]]) -> None:
    task = make()[0]
    image = task.job.post.images[0]
    post = replace(task.job.post, images=(image, replace(image, path=image.path.with_suffix(".vrt"))))
    reason = run_task(finish, task._replace(job=replace(task.job, post=post)))
    assert reason is not None
    assert "Convert it to GeoTIFF" in reason


def test_each_mask_is_passed_to_the_assessment_once(make: Callable[..., list[Task]], tmp_path: Path) -> None:
    task = make()[0]
    mask = tmp_path / "clouds.geojson"
    mask.write_text("first")
    pre, post = (
        replace(each, images=tuple(replace(image, masks=(mask,)) for image in each.images))
        for each in (task.job.pre, task.job.post)
        if each is not None
    )
    masked = make_task(replace(task.job, pre=pre, post=post), tmp_path, None, {}, "")
    assert masked.arguments["masks"] == [mask]
    mask.write_text("second one")
    assert make_task(masked.job, tmp_path, None, {}, "").made_from != masked.made_from
