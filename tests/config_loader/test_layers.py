"""base < users/<user> < experiments/<experiment> < local, in a folder and in an archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kedro.config import MissingConfigException

from xview2_siamese_unet import config_loader
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader, _soften
from xview2_siamese_unet.errors import ConfigError

LAYERS = ("base", "users/lab", "experiments/e2", "local")
WriteConf = Callable[[dict[str, str]], Path]
Load = Callable[..., UserExperimentConfigLoader]
LAB = {"users/lab/globals.yml": "", "experiments/e2/globals.yml": ""}


def size(value: int) -> str:
    return f"dataset: {{name: '${{globals:dataset.name}}', sample: {{size: {value}}}}}"


@pytest.mark.parametrize("top", range(4))
def test_the_topmost_layer_that_sets_a_key_wins(load: Load, write_conf: WriteConf, top: int) -> None:
    sizes = {f"{layer}/parameters.yml": size(64 * (i + 1)) for i, layer in enumerate(LAYERS[: top + 1])}
    storages = {f"{layer}/globals.yml": f"storage: at/{layer}" for layer in LAYERS[: top + 1]}
    loader = load(write_conf(LAB | sizes | storages), "lab/e2")
    assert loader["parameters"]["dataset"]["sample"]["size"] == 64 * (top + 1)
    assert loader["globals"]["storage"] == f"at/{LAYERS[top]}"
    assert loader["catalog"]["scenes"]["filepath"] == f"at/{LAYERS[top]}/02_intermediate/sample/scenes.json"


def test_parameters_merge_key_by_key(load: Load, write_conf: WriteConf) -> None:
    files = {
        "users/lab/parameters.yml": "dataset: {sample: {scenes: {tier1: 1}}}",
        "experiments/e2/parameters.yml": "dataset: {sample: {scenes: {tier3: 2}}}",
        "local/parameters.yml": "dataset: {subset: {count: 5}}",
    }
    dataset = load(write_conf(LAB | files), "lab/e2", dataset={"sample": {"scenes": {"hold": 3}}})["parameters"][
        "dataset"
    ]
    assert dataset["sample"]["scenes"] == {"tier1": 1, "tier3": 2, "hold": 3, "test": 8}
    assert dataset["subset"] == {"count": 5, "share": 1.0}


def test_null_in_a_layer_unsets_a_value(load: Load, write_conf: WriteConf) -> None:
    files = {
        "base/parameters.yml": "dataset: {name: '${globals:dataset.name}', subset: {count: 5}}",
        "experiments/e2/parameters.yml": "dataset: {subset: {count: null}}",
    }
    assert load(write_conf(LAB | files), "lab/e2")["parameters"]["dataset"]["subset"]["count"] is None


def test_catalog_entries_are_replaced_whole(load: Load, write_conf: WriteConf) -> None:
    files = {"users/lab/catalog.yml": "scenes: {type: MemoryDataset}"}
    catalog = load(write_conf(LAB | files), "lab/e2")["catalog"]
    assert catalog["scenes"] == {"type": "MemoryDataset"}
    assert catalog["metrics"]["filepath"] == "data/08_reporting/lab/e2/metrics.json"


def test_credentials_of_local_are_read_and_missing_ones_are_an_error(load: Load, write_conf: WriteConf) -> None:
    with pytest.raises(MissingConfigException, match="credentials"):
        load(write_conf(LAB), "lab/e2")["credentials"]
    files = {"local/credentials.yml": "bucket: {key: secret}"}
    assert load(write_conf(LAB | files), "lab/e2")["credentials"] == {"bucket": {"key": "secret"}}


def test_the_default_environment_is_the_default_user_and_quickstart(load: Load, write_conf: WriteConf) -> None:
    assert load(write_conf({})).layers == ("base", "users/default", "experiments/quickstart", "local")


def test_a_user_alone_runs_the_default_experiment_of_that_user(load: Load, write_conf: WriteConf) -> None:
    conf = write_conf(LAB | {"users/field/globals.yml": "default_experiment: e2"})
    assert load(conf, "field").user_and_experiment == ("field", "e2")
    assert load(conf, "lab").user_and_experiment == ("lab", "quickstart")


def test_names_come_from_the_environment_unless_a_file_gives_them(load: Load, write_conf: WriteConf) -> None:
    conf = write_conf(
        LAB | {"experiments/e2/globals.yml": 'experiment: "002"', "users/field/globals.yml": "group: team"}
    )
    lab, field = load(conf, "lab/e2")["globals"], load(conf, "field/e2")["globals"]
    assert (lab["user"], lab["group"], lab["experiment"]) == ("lab", "lab", "002")
    assert (field["user"], field["group"], field["experiment"]) == ("field", "team", "002")


@pytest.mark.parametrize("archive", ["gztar", "zip"])
def test_an_archive_reads_like_its_folder(load: Load, write_conf: WriteConf, tmp_path: Path, archive: str) -> None:
    conf = write_conf(LAB | {"experiments/e2/parameters.yml": "dataset: {sample: {size: 96}}"})
    packed = Path(shutil.make_archive(str(tmp_path / "conf-x"), archive, root_dir=tmp_path, base_dir="conf"))
    for key in ("globals", "parameters", "catalog"):
        assert load(packed, "lab/e2")[key] == load(conf, "lab/e2")[key]
    with pytest.raises(ConfigError, match="Known users: default, lab"):
        load(packed, "lap/e2")


def test_two_loaders_in_one_process_keep_their_own_globals(load: Load, write_conf: WriteConf) -> None:
    conf = write_conf(LAB)
    first, second = load(conf, "lab/e2"), load(conf)
    assert second["catalog"]["metrics"]["filepath"].endswith("default/quickstart/metrics.json")
    assert first["catalog"]["metrics"]["filepath"].endswith("lab/e2/metrics.json")


def test_runtime_name_of_the_dataset_reaches_parameters_and_catalog(load: Load, write_conf: WriteConf) -> None:
    loader = load(
        write_conf(LAB | {"users/lab/parameters.yml": "dataset: {source: sample}"}), "lab/e2", dataset={"name": "x"}
    )
    assert loader["parameters"]["dataset"]["name"] == "x"
    assert loader["catalog"]["scenes"]["filepath"] == "data/02_intermediate/x/scenes.json"


def test_a_download_named_at_runtime_or_in_globals_reaches_parameters(load: Load, write_conf: WriteConf) -> None:
    keys = ", ".join(f"{key}: '${{globals:dataset.{key}}}'" for key in ("name", "source", "root"))
    shown = f"dataset: {{{keys}}}"
    conf = write_conf(
        LAB | {"base/parameters.yml": shown, "users/lab/globals.yml": "dataset: {source: xbd, root: /a/}"}
    )
    assert load(conf, "lab/e2")["parameters"]["dataset"]["root"] == "/a"
    given = load(conf, "lab/e2", dataset={"root": "/b/"})["parameters"]["dataset"]
    assert (given["source"], given["root"]) == ("xbd", "/b")
    assert load(conf, "lab/e2", dataset={"source": "sample"})["parameters"]["dataset"]["source"] == "sample"
    assert load(conf, dataset={"source": "xbd", "root": "/b"})["parameters"]["dataset"]["root"] == "/b"


Tree = dict[str, object]
TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@given(TREES, TREES)
def test_soft_merge_is_a_recursive_update(a: Tree, b: Tree) -> None:
    merged = _soften(a, b)
    assert merged.keys() == a.keys() | b.keys()
    assert _soften(merged, b) == merged
    for key, value in b.items():
        below = a.get(key)
        expected = _soften(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        assert merged[key] == expected


@given(TREES)
def test_soft_merge_with_nothing_or_itself_changes_nothing(a: Tree) -> None:
    assert _soften(a, {}) == a == _soften({}, a) == _soften(a, a)


def test_settings_of_the_user_may_lie_in_a_hidden_folder(
    load: Load, write_conf: WriteConf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = write_conf({"base/parameters.yml": size(64)} | LAB)
    monkeypatch.setattr(config_loader, "PACKAGED", conf)  # as in a wheel
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    for name, value in (("xview2", 128), ("xview2/.ipynb_checkpoints", 256)):
        folder = tmp_path / ".config" / name
        folder.mkdir(parents=True)
        (folder / "parameters.yml").write_text(size(value))
    assert load(conf, "lab/e2")["parameters"]["dataset"]["sample"]["size"] == 128
