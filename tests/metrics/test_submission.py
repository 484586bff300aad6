from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import count_scene
from xview2_siamese_unet.metrics.folders import count_folders
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.metrics.submission import name_predictions, number_scenes
from xview2_siamese_unet.metrics.table import total


def draw(seed: int) -> np.ndarray:
    """A scene of 1024² whose corner holds all six codes."""
    codes = np.zeros((1024, 1024), np.uint8)
    codes[:40, :40] = np.random.default_rng(seed).integers(0, 6, (40, 40))
    return codes


def test_ids_follow_the_names_of_scenes() -> None:
    manifest = number_scenes(pd.DataFrame({"scene": ["b", "a", "c"]}))
    assert manifest.to_dict("list") == {"id": ["00000", "00001", "00002"], "scene": ["a", "b", "c"]}
    with pytest.raises(DataError, match=r"^submission: found 100001 scenes"):
        number_scenes(pd.DataFrame({"scene": ["a"] * 100_001}))


def test_the_files_of_a_submission_score_as_the_predictions_do(tmp_path: Path) -> None:
    predictions, truth = ({name: draw(seed) for seed, name in enumerate(names)} for names in ("ab", "xyab"))
    (tmp_path / "p").mkdir()
    (tmp_path / "t").mkdir()
    manifest = number_scenes(pd.DataFrame({"scene": ["a", "b"]}))
    for stem, codes in name_predictions(manifest, {name: lambda name=name: predictions[name] for name in "ab"}, "hold"):
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
    assert scores == pytest.approx(official_score(expected[0] + expected[1]), abs=1e-12)
    assert 0 < scores["score"] < 1


def test_another_size_is_refused() -> None:
    manifest = number_scenes(pd.DataFrame({"scene": ["a"]}))
    with pytest.raises(DataError, match=r"^a: found a prediction of 6 × 4 pixels; allowed: 1024 × 1024"):
        list(name_predictions(manifest, {"a": lambda: np.zeros((4, 6), np.uint8)}, "test"))
