from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.challenge import count_folders, is_official, number_scenes, submission_masks
from xview2_siamese_unet.metrics.confusion import count_scene, total
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.metrics.summary import summarise_folders
from xview2_siamese_unet.raster.io import write_mask

SIDE = 16


def script(predictions: Path, targets: Path) -> dict[str, float]:
    """The official scoring script, reimplemented from its description, one file after the other."""
    rows = np.zeros((5, 3), np.int64)
    for path in targets.glob("*_localization_*.png"):
        part, _, number, _ = path.name.split("_")
        files = [
            folder / f"{part}_{kind}_{number}_{end}.png"
            for folder, end in ((predictions, "prediction"), (targets, "target"))
            for kind in ("localization", "damage")
        ]
        lp, dp, lt, dt = (np.array(Image.open(file)) for file in files)
        lp_b, lt_b, dt_b = (lp > 0).astype(np.uint8), (lt > 0).astype(np.uint8), dt > 0
        dp = (dp * lp_b)[dt_b]
        dt = dt[dt_b]
        for row, (pred, targ, c) in enumerate([(lp_b, lt_b, 1), *((dp, dt, c) for c in (1, 2, 3, 4))]):
            rows[row] += [
                np.logical_and(pred == c, targ == c).sum(),
                np.logical_and(pred != c, targ == c).sum(),
                np.logical_and(pred == c, targ != c).sum(),
            ]
    f1 = [0.0 if tp == 0 else 2 / ((tp + fp) / tp + (tp + fn) / tp) for tp, fn, fp in rows.tolist()]
    damage = 4 / sum(1 / (value + 1e-6) for value in f1[1:])
    names = ("no_damage", "minor_damage", "major_damage", "destroyed")
    return {
        "score": 0.3 * f1[0] + 0.7 * damage,
        "damage_f1": damage,
        "localization_f1": f1[0],
        **{f"damage_f1_{name}": value for name, value in zip(names, f1[1:], strict=True)},
    }


def our_naming(folder: Path, *scenes: str, predicted: tuple[str, ...] = ()) -> tuple[Path, Path]:
    for scene in scenes:
        for kind in ("building", "damage"):
            write_mask(folder / "targets" / f"{scene}_{kind}.tif", np.eye(SIDE, dtype=np.uint8))
    for scene in predicted:
        write_mask(folder / "predictions" / f"{scene}.tif", np.eye(SIDE, dtype=np.uint8))
    return folder / "predictions", folder / "targets"


def litter(*folders: Path) -> None:
    """Write the files that macOS and Windows leave in folders."""
    for folder in folders:
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07" + bytes(100))
        for name in (".DS_Store", "Thumbs.db"):
            (folder / name).write_bytes(b"x")


def test_hidden_files_of_macos_and_windows_are_skipped(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = our_naming(tmp_path / "ours", "tier1/a", "tier1/b", predicted=("a", "b"))
    for predictions, targets in (folders, ours):
        before = count_folders(predictions, targets)
        litter(predictions, targets)
        assert count_folders(predictions, targets).equals(before)
    assert caplog.messages == []


def test_files_without_a_partner_are_counted(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count_folders(*our_naming(tmp_path / "ours", "tier1/a", "tier1/b", "test/c", predicted=("a",)))
    assert caplog.messages == ["2 targets have no prediction and are not scored"]
    caplog.clear()
    write(folders[0], "test_damage_99999_prediction", np.zeros((SIDE, SIDE), np.uint8))
    count_folders(*folders)
    assert caplog.messages == ["1 predictions have no target and are not scored"]


def test_one_scene_in_two_folders_of_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two masks named a_building"):
        count_folders(*our_naming(tmp_path, "tier1/a", "test/a", predicted=("a",)))


def write(folder: Path, name: str, mask: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(mask).save(folder / f"{name}.png")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    predictions, targets = tmp_path / "predictions", tmp_path / "targets"
    for number in range(6):
        part = "hold" if number == 5 else "test"
        for kind in ("localization", "damage"):
            for folder, end in ((predictions, "prediction"), (targets, "target")):
                mask = rng.integers(0, 5 if number else 1, (SIDE, SIDE), dtype=np.uint8)
                write(folder, f"{part}_{kind}_{number:05d}_{end}", mask)
    return predictions, targets


def test_scores_equal_those_of_the_official_script(folders: tuple[Path, Path]) -> None:
    expected = script(*folders)
    numbers = summarise_folders(count_folders(*folders))
    assert list(numbers)[:7] == list(expected)
    assert {key: numbers[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert numbers["n_scenes"] == 6
    assert is_official(folders[1])


def test_random_folders_have_the_scores_of_the_official_script(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        true, predicted = (rng.choice(5, rng.integers(1, 6), replace=False).astype(np.uint8) for _ in range(2))
        for number in range(2):
            for kind in ("localization", "damage"):
                write(tmp_path / "p", f"test_{kind}_{number:05d}_prediction", rng.choice(predicted, (5, 3)))
                write(tmp_path / "t", f"test_{kind}_{number:05d}_target", rng.choice(true, (5, 3)))
        expected = script(tmp_path / "p", tmp_path / "t")
        numbers = summarise_folders(count_folders(tmp_path / "p", tmp_path / "t"))
        assert {key: numbers[key] for key in expected} == pytest.approx(expected, abs=1e-12)


BAD = np.full((SIDE, SIDE), 5, np.uint8)
DAMAGED = "test_damage_00001_prediction.png"


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (BAD, "holds the value 5"),
        (np.zeros((SIDE, SIDE - 1), np.uint8), "has 15 × 16 pixels"),
        (np.zeros((SIDE, SIDE, 3), np.uint8), "has 3 bands"),
        (np.zeros((SIDE, SIDE), np.uint16), "has uint16 values"),
        (b"<html>", "cannot be read"),
        (None, "does not exist"),
    ],
)
def test_files_that_the_official_script_rejects_are_refused(
    folders: tuple[Path, Path], mask: np.ndarray | bytes | None, problem: str
) -> None:
    path = folders[0] / DAMAGED
    if isinstance(mask, np.ndarray):
        Image.fromarray(mask).save(path)
    elif mask is None:
        path.unlink()
    else:
        path.write_bytes(mask)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))} {problem}"):
        count_folders(*folders)


def test_other_sizes_and_names_are_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="16 × 16 pixels; one band of 1024 × 1024"):
        count_folders(*folders, side=1024)
    (folders[1] / "test_damage_hurricane-harvey_00000_target.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"hurricane-harvey_00000_target\.png is not named"):
        count_folders(*folders)


def test_folders_that_are_empty_or_missing_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        count_folders(tmp_path / "nowhere", folders[1])
    with pytest.raises(DataError, match=r"prediction\.png is not named"):
        count_folders(folders[1], folders[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no target"):
        count_folders(folders[0], tmp_path / "empty")


def test_a_vrt_in_place_of_a_png_is_refused(folders: tuple[Path, Path]) -> None:
    path = folders[0] / DAMAGED
    kept = path.rename(path.with_name("kept.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        from rasterio.shutil import copy  # noqa: PLC0415

        copy(str(kept), str(path.with_suffix(".vrt")), driver="VRT")
        path.with_suffix(".vrt").rename(path)
        with rasterio.open(path) as source:
            assert source.driver == "VRT"
    with pytest.raises(DataError, match=f"{DAMAGED} cannot be read"):
        count_folders(*folders)


def test_file_names_of_this_project_are_scored_for_predicted_scenes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for name in ("a_00000000", "b_00000001", "c_00000002"):
        damage = rng.integers(0, 6, (8, 8), dtype=np.uint8)
        write_mask(tmp_path / "masks" / "test" / f"{name}_building.tif", (damage > 0).astype(np.uint8))
        write_mask(tmp_path / "masks" / "test" / f"{name}_damage.tif", damage)
        if name[0] < "c":
            write_mask(tmp_path / "predictions" / f"{name}.tif", damage)
    table = count_folders(tmp_path / "predictions", tmp_path / "masks")
    assert table["scene"].tolist() == ["a_00000000", "b_00000001"]
    assert summarise_folders(table)["score"] == pytest.approx(1, abs=1e-5)
    write_mask(tmp_path / "predictions" / "d_00000003.tif", damage)
    with pytest.raises(DataError, match=r"d_00000003\.tif has no target"):
        count_folders(tmp_path / "predictions", tmp_path / "masks")


def draw(seed: int) -> np.ndarray:
    """Return a scene of 1024 × 1024 pixels with all six codes in one corner."""
    codes = np.zeros((1024, 1024), np.uint8)
    codes[:40, :40] = np.random.default_rng(seed).integers(0, 6, (40, 40))
    return codes


def test_ids_follow_the_sorted_scene_names() -> None:
    manifest = number_scenes(pd.DataFrame({"scene": ["b", "a", "c"]}))
    assert manifest.to_dict("list") == {"id": ["00000", "00001", "00002"], "scene": ["a", "b", "c"]}
    with pytest.raises(DataError, match="100001"):
        number_scenes(pd.DataFrame({"scene": ["a"] * 100_001}))


def test_the_files_of_a_submission_have_the_score_of_the_predictions(tmp_path: Path) -> None:
    predictions, truth = ({name: draw(seed) for seed, name in enumerate(names)} for names in ("ab", "xyab"))
    (tmp_path / "p").mkdir()
    (tmp_path / "t").mkdir()
    manifest = number_scenes(pd.DataFrame({"scene": ["a", "b"]}))
    for stem, codes in submission_masks(manifest, {name: lambda name=name: predictions[name] for name in "ab"}, "hold"):
        Image.fromarray(codes).save(tmp_path / "p" / f"{stem}.png")
    assert {path.name for path in (tmp_path / "p").iterdir()} == {
        f"hold_{kind}_{number}_prediction.png" for kind in ("localization", "damage") for number in ("00000", "00001")
    }
    expected = []
    for number, name in enumerate("ab"):
        building = (truth[name] > 0).astype(np.uint8)
        expected.append(count_scene(building, truth[name], predictions[name], scene=name))
        Image.fromarray(building).save(tmp_path / "t" / f"hold_localization_{number:05d}_target.png")
        Image.fromarray(truth[name] % 5).save(tmp_path / "t" / f"hold_damage_{number:05d}_target.png")
    scores = official_score(total(count_folders(tmp_path / "p", tmp_path / "t", side=1024)))
    assert scores == official_score(expected[0] + expected[1])
    assert 0 < scores["score"] < 1


def test_a_submission_of_another_size_is_refused() -> None:
    manifest = number_scenes(pd.DataFrame({"scene": ["a"]}))
    with pytest.raises(DataError, match=r"6 × 4 pixels.*1024 × 1024"):
        list(submission_masks(manifest, {"a": lambda: np.zeros((4, 6), np.uint8)}, "test"))
