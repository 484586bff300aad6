"""Every user can run every experiment that this project ships, and the files say what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from xview2_siamese_unet.environments import UserExperimentConfigLoader
from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.params.globals import Globals
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
USERS = sorted(path.name for path in (CONF / "users").iterdir())
EXPERIMENTS = sorted(path.name for path in (CONF / "experiments").iterdir())


@pytest.fixture(params=[f"{user}/{experiment}" for user in USERS for experiment in EXPERIMENTS])
def loader(request: pytest.FixtureRequest) -> UserExperimentConfigLoader:
    return UserExperimentConfigLoader(CONF, env=request.param, **CONFIG_LOADER_ARGS)


def test_globals_and_parameters_resolve(loader: UserExperimentConfigLoader) -> None:
    user, _ = loader.user_and_experiment
    assert loader["globals"]["group"] == user
    assert loader["parameters"]["dataset"]["name"] == loader["globals"]["dataset"]["name"]


def test_every_file_of_the_catalog_lies_below_the_storage(loader: UserExperimentConfigLoader) -> None:
    if not list((CONF / "base").glob("catalog*")):
        pytest.skip("the catalog has no entries yet")
    catalog, storage = loader["catalog"], loader["globals"]["storage"]
    paths = {name: entry.get("filepath") or entry.get("path") for name, entry in catalog.items()}
    below = {name: path.startswith(f"{storage}/") for name, path in paths.items() if path}
    assert below
    assert all(below.values()), below


def test_quickstart_needs_no_download_whoever_runs_it() -> None:
    for user in USERS:
        loader = UserExperimentConfigLoader(CONF, env=f"{user}/quickstart", **CONFIG_LOADER_ARGS)
        assert loader["parameters"]["dataset"]["source"] == "sample"


def test_base_shows_every_global_and_parameter_with_its_default() -> None:
    shown = yaml.safe_load((CONF / "base" / "globals.yml").read_text())
    named = {"user": "u", "experiment": "e", "group": "u"}
    assert named | shown == Globals(user="u", experiment="e").model_dump(mode="json")
    dataset = yaml.safe_load((CONF / "base" / "parameters_dataset.yml").read_text())["dataset"]
    assert dataset | {"name": "sample"} == DatasetParams().model_dump(mode="json")


def test_experiments_leave_it_to_users_where_things_lie() -> None:
    for file in (CONF / "experiments").glob("*/globals.yml"):
        assert not {"storage", "user", "group", "executor"} & yaml.safe_load(file.read_text()).keys(), file
