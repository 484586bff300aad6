"""The folder of scenes: fabricated, read where it lies, or unpacked."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from kedro.io import DatasetError
from sample_data import PROCESSES, SAMPLE, contents, folder_dataset, message

from xview2_siamese_unet.errors import ConfigError, DataError, StaleError
from xview2_siamese_unet.params.dataset import DatasetParams, SampleParams


def test_the_sample_is_drawn_once_and_only_where_it_is_missing(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    lost = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[0]
    kept = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[1]
    lost.unlink()
    kept.write_text(kept.read_text() + " ")
    dataset = folder_dataset(tmp_path / "s")
    assert dataset.exists()
    dataset.save(SAMPLE)
    assert lost.read_bytes() == (drawn / lost.relative_to(tmp_path / "s")).read_bytes()
    assert kept.read_text().endswith(" ")
    assert dataset.load() == tmp_path / "s"


def test_two_processes_draw_the_same_sample(drawn: Path, tmp_path: Path) -> None:
    folder_dataset(tmp_path / "s", PROCESSES).save(SAMPLE)
    assert contents(tmp_path / "s") == contents(drawn)


def test_a_sample_of_other_settings_is_refused(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    other = DatasetParams(sample=SampleParams(size=96))
    with pytest.raises(DatasetError) as caught:
        folder_dataset(tmp_path / "s").save(other)
    assert isinstance(message(caught), StaleError)
    assert "size 64" in message(caught).found


def test_a_download_is_checked_and_nothing_is_written_into_it(drawn: Path, tmp_path: Path) -> None:
    before = contents(drawn)
    dataset = folder_dataset(tmp_path / "s", root=drawn)
    dataset.save(DatasetParams(source="xbd", root=drawn, name="mine"))
    assert dataset.load() == drawn
    assert contents(drawn) == before
    assert not (tmp_path / "s").exists()
    missing = folder_dataset(tmp_path / "s", root=tmp_path / "absent")
    assert not missing.exists()
    with pytest.raises(DatasetError) as caught:
        missing.save(DatasetParams(source="xbd", root=tmp_path / "absent"))
    assert isinstance(message(caught), DataError)
    assert "folder" in str(missing)


def test_other_scenes_than_the_catalog_names_are_refused_before_anything_is_written(
    drawn: Path, tmp_path: Path
) -> None:
    download = tmp_path / "xbd"
    shutil.copytree(drawn, download, ignore=shutil.ignore_patterns("made_with.json"))
    before = contents(tmp_path)
    xbd = DatasetParams(source="xbd", root=download, name="mine")
    for dataset, params in (
        (folder_dataset(tmp_path / "s", root=download), SAMPLE),
        (folder_dataset(tmp_path / "s"), xbd),
        (folder_dataset(tmp_path / "s", root=drawn), xbd),
    ):
        with pytest.raises(DatasetError) as caught:
            dataset.save(params)
        assert isinstance(message(caught), ConfigError)
        assert contents(tmp_path) == before
        assert not (tmp_path / "s").exists()


def test_an_archive_is_unpacked_once(drawn: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "xbd"), "zip", drawn))
    dataset = folder_dataset(tmp_path / "s", root=archive)
    params = DatasetParams(source="xbd", root=archive, name="mine")
    dataset.save(params)
    assert dataset.load() == tmp_path / "s"
    raw = {name: data for name, data in contents(drawn).items() if "/" in name}
    assert {name: data for name, data in contents(tmp_path / "s").items() if "/" in name} == raw
    scene = next((tmp_path / "s").rglob("tier3/images/*_pre_*.png")).name.removesuffix("_pre_disaster.png")
    for file in list((tmp_path / "s").rglob(f"{scene}_*")):
        file.unlink()
    dataset.save(params)
    assert not list((tmp_path / "s").rglob(f"{scene}_*"))
    archive.write_bytes(archive.read_bytes() + b" ")
    with pytest.raises(DatasetError) as caught:
        folder_dataset(tmp_path / "s", root=archive).save(params)
    assert isinstance(message(caught), StaleError)


def test_a_damaged_archive_is_not_recorded_as_unpacked(drawn: Path, tmp_path: Path) -> None:
    archive = tmp_path / "xbd.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as target:
        target.add(drawn, ".")
    whole = archive.read_bytes()
    headers = [place for place in range(0, len(whole), 512) if whole[place + 257 : place + 262] == b"ustar"]
    archive.write_bytes(whole[: headers[-1]] + b"\xff" + whole[headers[-1] + 1 :])
    dataset, params = folder_dataset(tmp_path / "s", root=archive), DatasetParams(source="xbd", root=archive)
    for _ in range(2):
        with pytest.raises(DatasetError, match="cannot be read"):
            dataset.save(params)
        assert not (tmp_path / "s/unpacked.json").exists()
    archive.write_bytes(whole)
    dataset.save(params)
    assert (tmp_path / "s/unpacked.json").exists()
