"""Every setting of the university project has the key that docs/seed.md names, and takes effect.

Keys of globals and of the splits are tested here; those of training in tests/training.
"""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xview2_siamese_unet.config.data_processing import SplitParams
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS
from xview2_siamese_unet.xbd.splits import split_scenes

PROJECT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \| (\w+)", (PROJECT / "docs" / "seed.md").read_text(), re.MULTILINE)


def test_the_table_names_every_setting() -> None:
    assert len(ROWS) == 25
    sections = {"data", "training", "loss_weights", "dataloader", "focal_loss", "foldernames"}
    assert {key.partition(".")[0] for key, _, _ in ROWS} == sections


@pytest.mark.parametrize(("key", "ours", "_"), ROWS)
def test_each_setting_has_a_key(key: str, ours: str, _: str) -> None:
    section, *rest = ours.split(".")
    model = Globals if section in Globals.model_fields and section != "dataset" else Parameters
    found = reduce(lambda part, name: part.model_fields[name].annotation, rest, model.model_fields[section].annotation)
    assert found is not None, key


def paths(tmp_path: Path, globals_: dict[str, object], env: str = "default/quickstart") -> dict[str, str]:
    """Return the files of the catalog with these globals as overrides."""
    conf = tmp_path / "conf"
    if not conf.exists():
        for layer in ("base", "users", "experiments"):
            (conf / layer).parent.mkdir(exist_ok=True)
            (conf / layer).symlink_to(PROJECT / "conf" / layer)
        (conf / "local").mkdir()
    (conf / "local" / "globals.yml").write_text(yaml.safe_dump(globals_))
    catalog = UserExperimentConfigLoader(conf, env=env, **CONFIG_LOADER_ARGS)["catalog"]
    training = catalog["training_folders"]
    folders = {name: f"{training['filepath']}/{folder}" for name, folder in training["folders"].items()}
    files = folders | {name: entry["filepath"] for name, entry in catalog.items() if "filepath" in entry}
    return {name: path.replace(Path(training["filepath"]).name, "RUN") for name, path in files.items()}


@pytest.mark.parametrize(
    ("globals_", "dataset", "expected"),
    [
        ({}, "metrics", "data/08_reporting/default/quickstart/RUN/metrics.json"),
        ({"user": "lab"}, "metrics", "data/08_reporting/lab/quickstart/RUN/metrics.json"),
        ({"group": "team"}, "metrics", "data/08_reporting/team/quickstart/RUN/metrics.json"),
        ({"experiment": "e7"}, "checkpoint", "06_models/default/e7/RUN/checkpoints/e7_best_siamese_unet_state.pth"),
        ({"foldernames": {"tensorboard_logs": "tb"}}, "tensorboard_logs", "06_models/default/quickstart/RUN/tb"),
        ({"foldernames": {"checkpoints": "ck"}}, "checkpoints", "06_models/default/quickstart/RUN/ck"),
        ({"foldernames": {"checkpoints": "ck"}}, "checkpoint", "ck/quickstart_best_siamese_unet_state.pth"),
        ({"foldernames": {"logfiles": "lg"}}, "history", "06_models/default/quickstart/RUN/lg/history.csv"),
        ({"foldernames": {"class_counts_file": "cc.json"}}, "class_counts", "default/quickstart/RUN/cc.json"),
        ({"foldernames": {"sample_weights_file": "sw.pth"}}, "sample_weights", "default/quickstart/RUN/sw.pth"),
    ],
)
def test_a_global_changes_the_path_of_its_file(
    tmp_path: Path, globals_: dict[str, object], dataset: str, expected: str
) -> None:
    assert paths(tmp_path, globals_)[dataset].endswith(expected)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_contains_the_scenes_of_its_folder(split: str) -> None:
    scenes = pd.DataFrame([(f"a-fire_{i:08d}", tier, "a-fire") for i, tier in enumerate(("tier1", "tier3", "hold"))])
    scenes.columns = pd.Index(["scene", "tier", "disaster"])
    for order in (("tier1", "tier3", "hold"), ("hold", "tier1", "tier3")):
        shares = dict(zip(("train", "validation", "test"), ({tier: 1.0} for tier in order), strict=True))
        table = split_scenes(scenes, SplitParams.model_validate(shares)).set_index("split")
        wanted = scenes.set_index("tier").loc[next(iter(shares[split])), "scene"]
        assert table.loc[split, "scene"] == wanted
