"""Every user can run every shipped experiment, and the files have the keys and defaults of the models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config.validation import Strict
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
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


def test_every_file_of_the_catalog_is_below_the_storage_folder(loader: UserExperimentConfigLoader) -> None:
    catalog, storage = loader["catalog"], loader["globals"]["storage"]
    written = {name: entry for name, entry in catalog.items() if name != "download"}
    paths = {name: entry.get("filepath") or entry.get("path") for name, entry in written.items()}
    below = {name: path.startswith(f"{storage}/") for name, path in paths.items() if path}
    assert below
    assert all(below.values()), below


def test_quickstart_needs_no_download_for_any_user() -> None:
    for user in USERS:
        loader = UserExperimentConfigLoader(CONF, env=f"{user}/quickstart", **CONFIG_LOADER_ARGS)
        assert loader["parameters"]["dataset"]["source"] == "sample"


def leaves(tree: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Return dotted key → value, without sections."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= leaves(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat


def as_written(pattern: str) -> dict[str, object]:
    files = [OmegaConf.create(path.read_text()) for path in sorted((CONF / "base").glob(pattern))]
    written = OmegaConf.to_container(OmegaConf.merge(*files), resolve=False)
    return leaves(written)


@pytest.mark.parametrize(
    ("pattern", "model"),
    [("globals.yml", Globals(user="u", experiment="e")), ("parameters*.yml", Parameters())],
)
def test_base_shows_every_key_with_its_default(pattern: str, model: Strict) -> None:
    shown, defaults = as_written(pattern), leaves(model.model_dump(mode="json"))
    from_the_environment = {"user", "experiment", "group"}
    assert shown.keys() | from_the_environment == defaults.keys() | from_the_environment
    literal = {key: value for key, value in shown.items() if not str(value).startswith("${")}
    assert literal == {key: defaults[key] for key in literal}


def test_experiments_do_not_set_the_storage_user_group_or_executor() -> None:
    for file in (CONF / "experiments").glob("*/globals.yml"):
        assert not {"storage", "user", "group", "executor"} & yaml.safe_load(file.read_text()).keys(), file
