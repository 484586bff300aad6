from __future__ import annotations

import errno
import json
import mmap
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from store_maker import HEIGHT, WIDTH, Job, draw_scene, empty_store, pack

from xview2_siamese_unet.errors import DataError, StorageError
from xview2_siamese_unet.raster.store import RECORD, Slot, Store, read_manifest


@pytest.fixture
def two(tmp_path: Path) -> tuple[list[Slot], list[Job], list[np.ndarray]]:
    jobs, pixels = zip(*(draw_scene(tmp_path / "raw", seed) for seed in (1, 2)), strict=True)
    return empty_store(tmp_path / "store", [job.scene for job in jobs]), list(jobs), list(pixels)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 1000))
def test_a_store_holds_what_was_packed_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    drawn = [draw_scene(folder / "raw", seed + i) for i in range(4)]
    slots = empty_store(folder / "store", [job.scene for job, _ in drawn])
    for i in order:
        assert pack(slots[i], drawn[i][0])
    store = Store(folder / "store")
    assert len(store) == 4
    np.testing.assert_array_equal(store.pixels, np.stack([pixels for _, pixels in drawn]))
    scene = store.scene(drawn[2][0].scene)
    np.testing.assert_array_equal(np.dstack([scene.pre, scene.post, scene.building, scene.damage]), drawn[2][1])
    assert store.rows([drawn[3][0].scene, drawn[0][0].scene]) == [3, 0]


def test_the_record_counts_the_scene(two: tuple) -> None:
    slots, jobs, pixels = two
    pack(slots[0], jobs[0])
    record = Store(slots[0].folder).records[0]
    damage, images = pixels[0][..., 7], (pixels[0][..., :3], pixels[0][..., 3:6])
    assert record["damage_pixels"].tolist() == [int((damage == code).sum()) for code in range(6)]
    assert record["building_pixels"].tolist() == [int((damage == 0).sum()), int((damage > 0).sum())]
    for phase, image in enumerate(images):
        wide = image.reshape(-1, 3).astype(object)
        assert record["channel_sums"][phase].tolist() == wide.sum(axis=0).tolist()
        assert record["channel_squares"][phase].tolist() == (wide**2).sum(axis=0).tolist()
        assert record["valid_pixels"][phase] == sum(any(pixel) for pixel in wide.tolist())
    assert record["valid_pixels"][0] <= (HEIGHT - 2) * WIDTH


def test_a_packed_scene_is_not_packed_again(two: tuple) -> None:
    slots, jobs, _ = two
    assert pack(slots[0], jobs[0])
    before = {path.name: path.read_bytes() for path in slots[0].folder.iterdir()}
    assert not pack(slots[0], jobs[0])
    assert {path.name: path.read_bytes() for path in slots[0].folder.iterdir()} == before


@pytest.mark.parametrize("changed", ["image", "label or rule"])
def test_a_changed_scene_is_packed_again(two: tuple, changed: str) -> None:
    slots, jobs, _ = two
    pack(slots[0], jobs[0])
    job = jobs[0]
    if changed == "image":
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9, np.uint8)).save(job.images[1])
    else:
        job = job._replace(made_from="other")
    assert pack(slots[0], job)
    if changed == "image":
        assert (Store(slots[0].folder).scene(job.scene).post == 9).all()


def test_a_tiff_that_changed_is_packed_again(two: tuple, tmp_path: Path) -> None:
    slots, jobs, _ = two
    job = jobs[0]._replace(images=(tmp_path / "a.tif", jobs[0].images[1]))
    for value, time in ((1, 1_000), (2, 2_000)):
        profile = {"driver": "GTiff", "dtype": "int16", "count": 3, "height": HEIGHT, "width": WIDTH}
        with rasterio.open(job.images[0], "w", transform=rasterio.Affine.scale(2), **profile) as target:
            target.write(np.full((3, HEIGHT, WIDTH), value, np.int16))
        os.utime(job.images[0], (time, time))
        assert pack(slots[0], job)
        assert not pack(slots[0], job)
        assert (Store(slots[0].folder).scene(job.scene).pre == value).all()


def test_a_scene_whose_packing_failed_is_never_read(two: tuple) -> None:
    slots, jobs, _ = two
    for slot, job in zip(slots, jobs, strict=True):
        pack(slot, job)
    jobs[0].images[0].write_bytes(jobs[0].images[0].read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        pack(slots[0], jobs[0])
    store = Store(slots[0].folder)
    with pytest.raises(DataError, match="no finished scene a-fire_00000001"):
        store.scene(jobs[0].scene)
    assert store.scene(jobs[1].scene).pixels.any()
    with pytest.raises(DataError, match="no finished scene nobody"):
        store.rows(["nobody"])


def test_a_killed_writer_leaves_a_scene_that_is_packed_again(two: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    slots, jobs, pixels = two
    monkeypatch.setattr("xview2_siamese_unet.raster.store._write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack(slots[0], jobs[0])
    monkeypatch.undo()
    with pytest.raises(DataError, match="no finished scene"):
        Store(slots[0].folder).scene(jobs[0].scene)
    assert pack(slots[0], jobs[0])
    np.testing.assert_array_equal(Store(slots[0].folder).scene(jobs[0].scene).pixels, pixels[0])


@pytest.mark.parametrize(
    ("error", "raised"), [(errno.ENOSPC, StorageError), (errno.EDQUOT, StorageError), (errno.EIO, OSError)]
)
def test_a_full_disk_raises_a_storage_error(
    two: tuple, monkeypatch: pytest.MonkeyPatch, error: int, raised: type
) -> None:
    slots, jobs, _ = two

    def full(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("xview2_siamese_unet.raster.store.os.fsync", full)
    with pytest.raises(raised, match="free space" if raised is StorageError else None):
        pack(slots[0], jobs[0])
    with pytest.raises(DataError, match="no finished scene"):
        Store(slots[0].folder).scene(jobs[0].scene)


def test_another_size_is_refused(two: tuple) -> None:
    slots, jobs, _ = two
    Image.fromarray(np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8)).save(jobs[0].images[0])
    with pytest.raises(DataError, match=f"has {WIDTH + 1} × {HEIGHT} pixels"):
        pack(slots[0], jobs[0])
    jobs[1].images[0].unlink()
    with pytest.raises(DataError, match="cannot be read"):
        pack(slots[1], jobs[1])


def test_a_store_is_pickled_as_its_path(two: tuple) -> None:
    slots, jobs, pixels = two
    pack(slots[1], jobs[1])
    data = pickle.dumps(Store(slots[0].folder))
    assert len(data) < 500
    np.testing.assert_array_equal(pickle.loads(data).scene(jobs[1].scene).pixels, pixels[1])  # noqa: S301


def test_a_folder_that_is_not_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store"):
        Store(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="not a manifest"):
        Store(tmp_path)
    assert read_manifest(tmp_path / "absent") is None


@pytest.mark.parametrize("name", ["pixels.u8", "records.bin"])
@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_store_with_a_missing_or_short_file_is_refused(two: tuple, name: str, damage: str) -> None:
    slots, jobs, _ = two
    path = slots[0].folder / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="missing or too short for 2 scenes"):
        Store(slots[0].folder).scene(jobs[0].scene)


class RecordedPages(mmap.mmap):
    """A memory map that records the prefetched ranges."""

    ranges: list[tuple[int, int]]

    def madvise(self, option: int, start: int, length: int) -> None:
        assert option == mmap.MADV_WILLNEED
        super().madvise(option, start, length)
        self.ranges.append((start, start + length))


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="the system has no MADV_WILLNEED")
@pytest.mark.parametrize(("row", "top", "bottom"), [(0, 0, None), (1, 0, None), (1, 300, 500), (2, 511, 512)])
@pytest.mark.parametrize("width", [512, 200])
def test_only_the_requested_lines_are_prefetched(
    tmp_path: Path, row: int, top: int, bottom: int | None, width: int
) -> None:
    scene, line = 512 * width * 8, width * 8
    (tmp_path / "pixels.u8").write_bytes(bytes(3 * scene))
    (tmp_path / "records.bin").write_bytes(bytes(3 * RECORD.itemsize))
    (tmp_path / "manifest.json").write_text(json.dumps({"scenes": ["a", "b", "c"], "height": 512, "width": width}))
    store = Store(tmp_path)
    with (tmp_path / "pixels.u8").open("rb") as file:
        pages = RecordedPages(file.fileno(), 3 * scene, access=mmap.ACCESS_READ)
    pages.ranges = []
    store._maps = np.ndarray(store.pixels.shape, np.uint8, pages), store.records
    store.prefetch(row, top, bottom)
    first, last = row * scene + top * line, row * scene + (512 if bottom is None else bottom) * line
    starts, ends = zip(*pages.ranges, strict=True)
    assert list(starts[1:]) == list(ends[:-1])
    assert first - mmap.PAGESIZE < starts[0] <= first
    assert ends[-1] == last
    assert all(start % mmap.PAGESIZE == 0 for start in starts)


def test_prefetching_does_nothing_for_pixels_in_memory(two: tuple) -> None:
    slots, jobs, pixels = two
    pack(slots[0], jobs[0])
    store = Store(slots[0].folder)
    store._maps = np.array(store.pixels), store.records  # in memory already, not a memory map
    store.prefetch(0)
    np.testing.assert_array_equal(store.pixels[0], pixels[0])


def test_problems_are_read_from_the_store(two: tuple) -> None:
    store = Store(two[0][0].folder)
    assert store.problems == []
    (store.folder / "problems.json").write_text(json.dumps([["a", "b"]]))
    assert store.problems == [["a", "b"]]
