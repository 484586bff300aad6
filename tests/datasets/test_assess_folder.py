"""Blocks while an assessment runs, and what a finished one clears away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from xview2_siamese_unet.datasets.assess_folder import BlocksDataset, RecordDataset
from xview2_siamese_unet.raster.windows import BlockStore


def test_saving_the_record_clears_the_own_work_and_nothing_else(tmp_path: Path) -> None:
    own = [tmp_path / name for name in (".work", ".damage.tif.a1b2c3.part", ".run.json.a1b2c3.part")]
    foreign = [tmp_path / name for name in (".mine.part", "second/.damage.tif.a1b2c3.part", "second/.work")]
    for folder in (*own, *foreign):
        folder.mkdir(parents=True)
        (folder / "a").write_text("a")
    RecordDataset(filepath=str(tmp_path / "run.json")).save({"run_id": "1"})
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": "1"}
    assert [folder.exists() for folder in own] == [False] * 3
    assert [(folder / "a").exists() for folder in foreign] == [True] * 3


def test_blocks_of_one_run_add_up_and_those_of_another_go(tmp_path: Path) -> None:
    blocks = BlocksDataset(filepath=str(tmp_path / ".work/blocks"))
    (tmp_path / "run.json").write_text('{"run_id": "0", "products": {"damage.tif": "abc"}}')
    for number in range(2):
        blocks.save({"1": {number: iter([{"block": np.full(3, number)}])}})
    assert not (tmp_path / "run.json").exists()
    assert (tmp_path / ".work/written.txt").read_text().split() == ["abc"]
    with BlockStore(blocks.load() / "1").read_row(1) as row:
        assert row.read("block", 0).tolist() == [1, 1, 1]
    blocks.save({"1": {}})
    assert sorted(path.name for path in blocks.load().rglob("*")) == ["1", "row_000000.zip", "row_000001.zip"]
    blocks.save({"2": {0: []}})
    assert sorted(path.name for path in blocks.load().rglob("*")) == ["2", "row_000000.zip"]
