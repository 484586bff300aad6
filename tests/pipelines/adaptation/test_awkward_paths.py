"""Commands for a new event, with a read-only home and absolute paths that a shell or a URL would split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from run_command import run_python
from shipped_project import SMALL, link_shipped_project

XVIEW2 = "from xview2_siamese_unet.standalone import main; main()"
MODEL = "default/quickstart"


@pytest.mark.slow
def test_a_whole_event_in_a_folder_with_an_awkward_name(
    town: Path, project_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(town, tmp_path / "a ä # %20b"))
    project = link_shipped_project(folder / "ö 100 % #", yaml.safe_dump(SMALL))
    shutil.copy(project_path / ".telemetry", project)
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)

    def run(*words: object) -> str:
        # Nobody can write below a file, not even root.
        done = run_python(project, *map(str, words), timeout=300, HOME=str(folder / "post.tif" / "home"))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def xview2(*words: object) -> str:
        return run("-c", XVIEW2, *words)

    run("-m", "kedro", "run", "--env", MODEL)
    out, houses, campaign = folder / "ü out", folder / "houses.gpkg", folder / "campaign #1"
    images = folder / "pre.tif", folder / "post.tif"
    xview2("assess", *images, "--out", out, "--footprints", houses, "--model", "none")
    xview2("label", out)
    xview2("adapt", out, "--labels", folder / "labels.csv")
    xview2("validate", out / "adapted", "--count", 20)
    truth, sample = pd.read_csv(folder / "truth.csv"), pd.read_csv(out / "validation" / "sample.csv")
    truth.merge(sample["building_id"]).to_csv(folder / "sample ä.csv", index=False)
    estimates = json.loads(xview2("estimate", out / "adapted", "--labels", folder / "sample ä.csv", "--json"))
    pd.DataFrame([images], columns=["pre", "post"]).to_csv(folder / "pairs.csv", index=False)
    xview2("campaign", "plan", folder / "pairs.csv", "--out", campaign)
    counts = json.loads(xview2("campaign", "run", campaign, "--footprints", houses, "--model", MODEL, "--json"))

    assert (estimates["buildings"], estimates["labelled"]) == (len(truth), 20)
    assert counts["jobs"] == {"done": 1, "failed": []}
    products = {"label.html", "adapted/buildings.gpkg", "adapted/validation/estimate.html"}
    assert [name for name in products if not (out / name).is_file()] == []
    made = {"ö 100 % #", "ü out", "sample ä.csv", "pairs.csv", "campaign #1"}
    assert {path.name for path in folder.iterdir()} == {path.name for path in town.iterdir()} | made
