"""Every mistake in the configuration is an error that names the value and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.errors import ConfigError

WriteConf = Callable[[dict[str, str]], Path]
Load = Callable[..., UserExperimentConfigLoader]
LAB = {"users/lab/globals.yml": "", "experiments/e2/globals.yml": ""}
XBD = "dataset: {source: xbd, root: /xbd}"


@pytest.mark.parametrize(
    "env", ["nobody", "nobody/e2", "../lab", "../lab/e2", "/e2", "local", "base", "users/lab", ".", "lab\n"]
)
def test_an_unknown_user_lists_the_known_ones(load: Load, write_conf: WriteConf, env: str) -> None:
    with pytest.raises(ConfigError, match="Known users: default, lab"):
        load(write_conf(LAB), env)


@pytest.mark.parametrize("env", ["lab/none", "lab/", "lab/../../base", "lab/e2/", "lab/e2/x", "lab/.", "lab/E2"])
def test_an_unknown_experiment_lists_the_known_ones(load: Load, write_conf: WriteConf, env: str) -> None:
    with pytest.raises(ConfigError, match="Known experiments: e2, quickstart"):
        load(write_conf(LAB), env)


def test_folders_with_unusable_names_are_not_users(load: Load, write_conf: WriteConf) -> None:
    conf = write_conf({".hidden/x.yml": "", "users/.cache/x.yml": "", "users/a b/x.yml": ""})
    (conf / "users" / "a_file").write_text("")
    with pytest.raises(ConfigError, match=r"Known users: default\."):
        load(conf, "nobody")


def test_a_configuration_without_users_is_an_error(load: Load, write_conf: WriteConf) -> None:
    with pytest.raises(ConfigError, match="Known users: none"):
        load(write_conf({}).parent / "nowhere")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"base/globals.yml": "storag: x"}, "storag"),
        ({"base/globals.yml": "group: a/b"}, "group.*'a/b'"),
        ({"base/globals.yml": "group: '..'"}, r"group.*'\.\.'"),
        (
            {"base/globals.yml": "experiment: 002"},
            r"experiment.*text \(in YAML between quotes\)",
        ),
        ({"base/globals.yml": "storage: 's3://bucket'"}, r"not a URL"),
        ({"base/globals.yml": "foldernames: {checkpoints: ../x}"}, r"foldernames\.checkpoints.*'\.\./x'"),
        (
            {"base/globals.yml": "executor: {kind: threads}"},
            r"executor\.kind.*'serial', 'processes' or 'dask'",
        ),
        ({"base/globals.yml": "storage: ${globals:group}"}, r"globals in base"),
        ({"base/globals.yml": "storage: ${runtime_params:x}"}, r"runtime_params"),
        ({"users/lab/globals.yml": "a: [1"}, r"globals in users/lab .*Invalid YAML"),
        ({"users/lab/globals.yml": "- a"}, r"globals in users/lab of .*: a list"),
    ],
)
def test_unusable_globals_are_refused_at_once(
    load: Load, write_conf: WriteConf, files: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(write_conf(LAB | files), "lab/e2")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"local/parameters.yml": "datset: {}"}, "datset"),
        (
            {"local/parameters.yml": "dataset: {sample: {size: 10}}"},
            r"dataset\.sample\.size.*at least 64, at most 4096",
        ),
        (
            {"local/parameters.yml": "dataset: {name: other}"},
            "'other', but the catalog.*'sample'",
        ),
        (
            {"local/globals.yml": XBD, "local/parameters.yml": "dataset: {source: sample}"},
            r"dataset\.source is 'sample', but the catalog.*'xbd'",
        ),
        (
            {"local/parameters.yml": "dataset: {source: xbd, root: /xbd}"},
            r"dataset\.source is 'xbd', but .*'sample'.*dataset: {source: \.\.\.} in",
        ),
        (
            {"local/globals.yml": XBD, "local/parameters.yml": "dataset: {source: xbd, root: /other}"},
            r"dataset\.root is '/other', but the catalog.*'/xbd'",
        ),
        ({"local/parameters_more.yml": "- a: 1"}, r"parameters in local of .*: a list"),
        ({"local/parameters_x.yml": "a: 1", "local/parameters.yml": "a: 2"}, r"Duplicate keys"),
        ({"local/parameters.yml": "dataset: {name: '${globals:datast.name}'}"}, r"globals have no key 'datast.name'"),
        ({"local/parameters.yml": "dataset: {name: '${elsewhere}'}"}, r"elsewhere"),
        ({"local/parameters.yml": "model: {decoder: unett}"}, r"model\.decoder.*got 'unett'.*example unet"),
        (
            {"local/parameters.yml": "model: {decoder: unetplusplus, decoder_channels: [8, 8, 8]}"},
            r"five decoder_channels.*got \[8, 8, 8\]",
        ),
        (
            {"local/parameters.yml": "training: {losses: {post: {dicee: 1}}}"},
            r"losses\.post.*'dicee'.*example dice",
        ),
        ({"local/parameters.yml": "training: {losses: {pre: {dicee: 0}}}"}, r"losses\.pre.*got 'dicee'"),
        ({"local/parameters.yml": "training: {losses: {pre: {ordinal: 1}}}"}, r"losses\.pre.*lovasz, got 'ordinal'"),
        ({"local/parameters.yml": "training: {losses: {pre: {dicee: -1}}}"}, r"losses\.pre\.dicee.*at least 0"),
        ({"local/parameters.yml": "training: {losses: {pre: {dicee: yes}}}"}, r"losses\.pre\.dicee.*a number"),
        ({"local/parameters.yml": "inference: {formats: [kml]}"}, r"formats.*geojson, geoparquet, got 'kml'"),
    ],
)
def test_unusable_parameters_are_refused_when_they_are_read(
    load: Load, write_conf: WriteConf, files: dict[str, str], sentence: str
) -> None:
    loader = load(write_conf(LAB | files), "lab/e2")
    with pytest.raises(ConfigError, match=sentence):
        loader["parameters"]


def test_unusable_runtime_parameters_are_refused_when_they_are_read(load: Load, write_conf: WriteConf) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.sample\.siz"):
        load(write_conf(LAB), "lab/e2", dataset={"sample": {"siz": 64}})["parameters"]


def test_an_unknown_section_is_a_key_error(load: Load, write_conf: WriteConf) -> None:
    with pytest.raises(KeyError, match="spark"):
        load(write_conf({}))["spark"]
