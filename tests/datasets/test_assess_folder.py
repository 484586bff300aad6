"""What a finished assessment clears away."""

from __future__ import annotations

import json
from pathlib import Path

from xview2_siamese_unet.datasets.assess_folder import AssessmentDataset


def test_saving_the_record_clears_the_own_work_and_nothing_else(tmp_path: Path) -> None:
    own = [tmp_path / name for name in (".work", ".damage.tif.a1b2c3.part", ".run.json.a1b2c3.part")]
    foreign = [tmp_path / name for name in (".mine.part", "second/.damage.tif.a1b2c3.part", "second/.work")]
    for folder in (*own, *foreign):
        folder.mkdir(parents=True)
        (folder / "a").write_text("a")
    AssessmentDataset(filepath=str(tmp_path)).save({"run_id": "1"})
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": "1"}
    assert [folder.exists() for folder in own] == [False] * 3
    assert [(folder / "a").exists() for folder in foreign] == [True] * 3
