"""The folder of scenes: fabricated, read where it lies, or unpacked."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from kedro.io import DatasetError
from sample_data import PROCESSES, SAMPLE, SERIAL, contents, message, provide

from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams
from xview2_siamese_unet.datasets.partitions import DownloadDataset
from xview2_siamese_unet.errors import ConfigError, StaleError
from xview2_siamese_unet.pipelines.data_processing.nodes import provide_scenes


def test_the_sample_is_drawn_once_and_only_where_it_is_missing(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    lost = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[0]
    kept = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[1]
    lost.unlink()
    kept.write_text(kept.read_text() + " ")
    dataset = provide(tmp_path / "s")
    assert dataset.exists()
    assert lost.read_bytes() == (drawn / lost.relative_to(tmp_path / "s")).read_bytes()
    assert kept.read_text().endswith(" ")
    assert dataset.load() == tmp_path / "s"


def test_two_processes_draw_the_same_sample(drawn: Path, tmp_path: Path) -> None:
    provide(tmp_path / "s", executor=PROCESSES)
    assert contents(tmp_path / "s") == contents(drawn)


def test_a_sample_of_other_settings_is_refused(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    with pytest.raises(DatasetError) as caught:
        provide(tmp_path / "s", params=DatasetParams(sample=SampleParams(size=96)))
    assert isinstance(message(caught), StaleError)
    assert "size 64" in message(caught).found


def test_a_download_is_read_where_it_lies_and_never_written_to(drawn: Path, tmp_path: Path) -> None:
    before = contents(drawn)
    dataset = provide(tmp_path / "s", root=drawn)
    assert dataset.load() == drawn
    with pytest.raises(DatasetError) as caught:
        dataset.save(provide_scenes(None, SAMPLE, SERIAL))
    assert isinstance(message(caught), ConfigError)
    assert contents(drawn) == before
    assert not (tmp_path / "s").exists()
    missing = provide(tmp_path / "s", root=tmp_path / "absent")
    assert not missing.exists()
    assert "absent" in str(missing)


def test_the_download_is_what_the_user_names(drawn: Path) -> None:
    download = DownloadDataset(source="xbd", path=str(drawn))
    assert download.load() == drawn
    assert download.exists()
    assert not DownloadDataset(source="xbd", path=str(drawn / "absent")).exists()
    assert DownloadDataset(source="sample", path=str(drawn)).load() is None
    with pytest.raises(DatasetError, match="only read"):
        download.save("a folder")


def test_an_archive_is_unpacked_once(drawn: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "xbd"), "zip", drawn))
    dataset = provide(tmp_path / "s", root=archive)
    assert dataset.load() == tmp_path / "s"
    raw = {name: data for name, data in contents(drawn).items() if "/" in name}
    assert {name: data for name, data in contents(tmp_path / "s").items() if "/" in name} == raw
    scene = next((tmp_path / "s").rglob("tier3/images/*_pre_*.png")).name.removesuffix("_pre_disaster.png")
    for file in list((tmp_path / "s").rglob(f"{scene}_*")):
        file.unlink()
    provide(tmp_path / "s", root=archive)
    assert not list((tmp_path / "s").rglob(f"{scene}_*"))
    archive.write_bytes(archive.read_bytes() + b" ")
    with pytest.raises(DatasetError) as caught:
        provide(tmp_path / "s", root=archive)
    assert isinstance(message(caught), StaleError)


def test_a_damaged_archive_is_not_recorded_as_unpacked(drawn: Path, tmp_path: Path) -> None:
    archive = tmp_path / "xbd.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as target:
        target.add(drawn, ".")
    whole = archive.read_bytes()
    headers = [place for place in range(0, len(whole), 512) if whole[place + 257 : place + 262] == b"ustar"]
    archive.write_bytes(whole[: headers[-1]] + b"\xff" + whole[headers[-1] + 1 :])
    for _ in range(2):
        with pytest.raises(DatasetError, match="cannot be read"):
            provide(tmp_path / "s", root=archive)
        assert not (tmp_path / "s/unpacked.json").exists()
    archive.write_bytes(whole)
    provide(tmp_path / "s", root=archive)
    assert (tmp_path / "s/unpacked.json").exists()
