"""Unusable datasets are refused in one sentence, before anything is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from xview2_siamese_unet.config.dataset import SampleParams
from xview2_siamese_unet.errors import ConfigError, DataError, ProjectError
from xview2_siamese_unet.synthetic import plan_sample, write_scene

RunKedro = Callable[..., None]


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A small folder in the layout of a download."""
    params = SampleParams.model_validate({"size": 64, "scenes": {"tier1": 2, "tier3": 1, "hold": 1, "test": 1}})
    for scene in plan_sample(params):
        write_scene(tmp_path / "xbd", scene, params.size)
    return tmp_path / "xbd"


def refused(run_kedro: RunKedro, root: Path, name: str) -> ProjectError:
    with pytest.raises(Exception, match=r"data_processing|dataset\.root") as caught:
        run_kedro("data_processing", dataset={"source": "xbd", "root": str(root), "name": name})
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, ProjectError):
        error = error.__cause__
    assert error is not None
    return error


def files(storage: Path) -> dict[Path, int]:
    """Return the files that a refused run must not change; it may write timings and a lock."""
    kept = (path for path in storage.rglob("*") if path.is_file() and path.name != "timings.json")
    return {path: path.stat().st_mtime_ns for path in kept if ".locks" not in path.parts}


def test_a_missing_download_is_refused(run_kedro: RunKedro, storage: Path, tmp_path: Path) -> None:
    before = files(storage)
    error = refused(run_kedro, tmp_path / "nowhere", "absent")
    assert str(error).startswith(f"{tmp_path / 'nowhere'} is not a folder. Set dataset.root to ")
    assert files(storage) == before


def test_a_relative_download_starts_at_the_project_and_must_be_complete(
    run_kedro: RunKedro, storage: Path, download: Path
) -> None:
    root = Path(os.path.relpath(download, storage.parent))
    run_kedro("data_processing", dataset={"source": "xbd", "root": str(root), "name": "relative"})
    assert (storage / "02_intermediate/relative/scenes.parquet").is_file()
    assert not (storage / "01_raw/relative").exists()
    next((download / "hold" / "images").iterdir()).unlink()
    before = files(storage)
    assert "image" in refused(run_kedro, root, "relative").message
    assert files(storage) == before


def test_a_relative_archive_is_unpacked_below_the_storage(run_kedro: RunKedro, storage: Path, download: Path) -> None:
    archive = Path(shutil.make_archive(str(storage.parent / "packed"), "zip", download))
    for _ in range(2):
        run_kedro("data_processing", dataset={"source": "xbd", "root": archive.name, "name": "packed"})
    assert (storage / "01_raw/packed/unpacked.json").is_file()
    assert {path.suffix for path in (storage.parent / "notebooks").rglob("*")} == {".ipynb"}


def test_a_label_without_its_image_is_refused(run_kedro: RunKedro, storage: Path, download: Path) -> None:
    image = next((download / "hold" / "images").glob("*_post_disaster.png"))
    image.unlink()
    before = files(storage)
    error = refused(run_kedro, download, "gone")
    scene = image.name.removesuffix("_post_disaster.png")
    assert isinstance(error, DataError)
    assert str(error).startswith(f"hold/{scene} has no post image")
    assert files(storage) == before


@pytest.mark.slow
def test_an_unknown_event_is_refused(run_kedro: RunKedro, main_run: Path) -> None:
    before = [path.read_bytes() for path in main_run.glob("05_model_input/default/quickstart/*/splits.csv")]
    with pytest.raises(ConfigError, match=r"atlantis.* sample-"):
        run_kedro("data_processing", data_processing={"split": {"leave_events_out": ["atlantis"]}})
    assert [path.read_bytes() for path in main_run.glob("05_model_input/default/quickstart/*/splits.csv")] == before
