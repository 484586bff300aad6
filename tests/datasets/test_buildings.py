"""The table of buildings, written in parts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from kedro.io import DatasetError

from xview2_siamese_unet.datasets.buildings import BuildingsDataset
from xview2_siamese_unet.xbd.ingest import BUILDING_SCHEMA

ROW = [[0.5] if name == "area" else [name] for name in BUILDING_SCHEMA.names]
PARTS = [pa.table(ROW, BUILDING_SCHEMA)] * 2


def test_parts_become_one_table(tmp_path: Path) -> None:
    dataset = BuildingsDataset(filepath=str(tmp_path / "new" / "buildings.parquet"))
    dataset.save(lambda: PARTS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["buildings.parquet"]
    assert dataset.load().read() == pa.concat_tables(PARTS)
    assert dataset.load().num_row_groups == 2


def test_an_error_in_a_later_part_leaves_what_was_there(tmp_path: Path) -> None:
    def torn() -> Iterator[pa.Table]:
        yield PARTS[0]
        raise RuntimeError

    dataset = BuildingsDataset(filepath=str(tmp_path / "buildings.parquet"))
    dataset.save(lambda: PARTS)
    before = (tmp_path / "buildings.parquet").read_bytes()
    with pytest.raises(DatasetError):
        dataset.save(torn)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"buildings.parquet": before}


def test_arrow_gives_back_what_it_freed() -> None:
    program = "import xview2_siamese_unet, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    env = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.strip() == "system"
