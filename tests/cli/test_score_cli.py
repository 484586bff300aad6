from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from xview2_siamese_unet.cli import cli
from xview2_siamese_unet.errors import DataError


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for kind in ("localization", "damage"):
        for end in ("prediction", "target"):
            (tmp_path / end).mkdir(exist_ok=True)
            for number in range(3):
                mask = np.zeros((1024, 1024), np.uint8)
                mask[::8, ::8] = rng.integers(0, 5, (128, 128))
                Image.fromarray(mask).save(tmp_path / end / f"test_{kind}_{number:05d}_{end}.png")
    return [str(tmp_path / "prediction"), str(tmp_path / "target")]


def test_score_prints_and_writes_the_official_keys(folders: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    done = CliRunner().invoke(cli, ["score", *folders, "--out", str(out)], catch_exceptions=False)
    numbers = json.loads(out.read_text())
    assert list(numbers)[:7] == [
        "score",
        "damage_f1",
        "localization_f1",
        "damage_f1_no_damage",
        "damage_f1_minor_damage",
        "damage_f1_major_damage",
        "damage_f1_destroyed",
    ]
    assert f"{numbers['score']:.6f}" in done.output
    assert done.output.startswith("3 scenes\n")


def test_another_size_is_refused_unless_asked_for(folders: list[str]) -> None:
    for folder, end in zip(folders, ("prediction", "target"), strict=True):
        for kind in ("localization", "damage"):
            Image.new("L", (64, 64)).save(Path(folder) / f"test_{kind}_00001_{end}.png")
    refused = CliRunner().invoke(cli, ["score", *folders])
    assert isinstance(refused.exception, DataError)
    assert "found 64 × 64 pixels" in str(refused.exception)
    assert CliRunner().invoke(cli, ["score", *folders, "--any-size"]).exit_code == 0
