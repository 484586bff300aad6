"""The configuration loader of `--env <user>/<experiment>`.

Layers: base < users/<user> < experiments/<experiment> < local. Parameters and globals are validated here and not in a
hook, because Kedro-Viz loads a project without its hooks.
"""

from __future__ import annotations

import copy
import mimetypes
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Final, Literal

import yaml  # type: ignore[import-untyped]
from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.project import configure_logging
from kedro.utils import find_config_file
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from platformdirs import user_config_path
from yaml import YAMLError

from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config.validation import NAME, validate
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.inference.building_formats import check_formats
from xview2_siamese_unet.models.decoders import find_decoder
from xview2_siamese_unet.raster.store import Store, read_manifest
from xview2_siamese_unet.runs import MODELS, READ_ONLY_SECTIONS, Run, choose_run, describe_run, find_run

APP: Final = "xview2"
"""Name of the user's folders for settings and data if this package is used without a project."""
PACKAGED: Final = Path(__file__).parent / "conf"
"""Configuration inside an installed wheel; a clone has its own."""
_ARCHIVES: Final = {"application/x-tar": "tar://::", "application/zip": "zip://::"}
_SUFFIXES: Final = (".yml", ".yaml", ".json")
_MISSING: Final = object()


class UserExperimentConfigLoader(OmegaConfigLoader):
    """Kedro's configuration loader with four layers instead of two.

    `globals` and `parameters` are validated, with every default filled in. `--params` overrides every layer, and
    references inside a layer see it. Layers are resolved one by one: a reference from one to another goes through
    `${globals:...}`.

    Raises:
        ConfigError: on construction for an unknown user or experiment or invalid globals; on access to a key for files
            that cannot be read, unknown keys and values out of range.

    Attributes:
        begins_runs: whether the session begins or resumes a run; otherwise it reads an existing one.
        project: folder that a relative storage starts from.
    """

    begins_runs = False
    project: Path | None = None

    @cached_property
    def user_and_experiment(self) -> tuple[str, str]:
        """User and experiment, by default the user's `default_experiment`."""
        user, slash, experiment = (self.env or self.default_run_env).partition("/")
        self._require("users", user)
        if not slash:
            files = {"user": user, "experiment": user} | self._merge("globals", (self.base_env, f"users/{user}"))
            experiment = validate(files, Globals, f"globals of {user}").default_experiment
        self._require("experiments", experiment)
        return user, experiment

    @property
    def layers(self) -> tuple[str, ...]:
        """Folders below the configuration, each on top of the one before."""
        user, experiment = self.user_and_experiment
        # Nothing is added to the configuration inside a wheel: settings of the user have a separate folder.
        local = "local" if self.conf_source != str(PACKAGED) else str(user_config_path(APP))
        return self.base_env, f"users/{user}", f"experiments/{experiment}", local

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the configuration of all layers under one key, such as `catalog`."""
        if key in self.data or key not in self.config_patterns:
            return super().__getitem__(key)
        layers = self.layers
        if key == "globals":
            values = self._globals_of(self._merge(key, layers))
            self.data[key] = values
            return values
        values = self["globals"] | ({"run": self.run.name} if key == "catalog" else {})
        # Resolvers belong to the process: without this, two experiments open in one notebook would both use the globals
        # of the last loader and read each other's folders.
        OmegaConf.register_new_resolver("globals", partial(_select, values), replace=True)
        merged = self._merge(key, layers)
        if not merged:
            raise MissingConfigException(f"No {key} in {', '.join(layers)} of {self.conf_source}")
        if key == "parameters":  # cached, because the choice of the run, the context and commands all read it
            merged = self.data[key] = self._parameters_of(merged)
        return merged

    @cached_property
    def run(self) -> Run:
        """The run whose files the catalog names."""
        named, parameters = self["globals"], self["parameters"]
        storage = (self.project or Path(self.conf_source).absolute().parent) / named["storage"]
        store = storage / "05_model_input" / parameters["dataset"]["name"] / "store"
        wanted = describe_run(parameters, Store(store).digest if read_manifest(store) else None)
        experiment = storage / MODELS / named["group"] / named["experiment"]
        if self.begins_runs:
            return choose_run(experiment, parameters["run"], wanted, reuse=parameters["training"]["reuse"])
        overrides = (self.runtime_params or {}).keys() - READ_ONLY_SECTIONS - {"hardware", "dataloader"}
        return find_run(experiment, parameters["run"], wanted, same_settings=bool(overrides))

    def known(self, kind: Literal["users", "experiments"]) -> list[str]:
        """Return the names that `--env` may have on one side of its slash."""
        return known_names(str(self.conf_source), kind)

    def _merge(self, key: str, layers: tuple[str, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for layer in layers:
            part = self._read(key, layer)
            merged = _soften(merged, part) if self.merge_strategy.get(key) == "soft" else merged | part
        return merged

    def _read(self, key: str, layer: str) -> dict[str, Any]:
        single = copy.copy(self)
        single.base_env = single.env = layer
        try:
            return OmegaConfigLoader.__getitem__(single, key)
        except MissingConfigException:  # no such folder: conf/local in an archive
            return {}
        except (YAMLError, OmegaConfBaseException, ValueError, AttributeError) as error:
            # Kedro raises an AttributeError for a file that holds a list.
            problem = "a list in place of keys" if isinstance(error, AttributeError) else " ".join(str(error).split())
            raise ConfigError(
                f"{key} in {layer} of {self.conf_source}: {problem.removesuffix('.')}.",
                hint=f"Correct {layer}/{key}*.yml: each key once, references only to the same layer or to globals.",
            ) from error

    def _is_hidden(self, path_str: str) -> bool:
        # Kedro ignores hidden files below the configuration, but the user's layer is in the hidden folder ~/.config.
        hidden: bool = super()._is_hidden(path_str.removeprefix(Path(self.base_env).as_posix()))
        return hidden

    def _globals_of(self, files: Mapping[str, Any]) -> dict[str, Any]:
        user, experiment = self.user_and_experiment
        named = {"user": user, "experiment": experiment, **files}
        return validate(named, Globals, f"globals of {user}/{experiment}").model_dump(mode="json", by_alias=True)

    def _parameters_of(self, files: Mapping[str, Any]) -> dict[str, Any]:
        parameters = validate(files, Parameters, f"parameters of {'/'.join(self.user_and_experiment)}")
        self._require_one_dataset(parameters.dataset)
        _require_known_names(parameters)
        return parameters.model_dump(mode="json", by_alias=True)

    def _require_one_dataset(self, dataset: DatasetParams) -> None:
        """Require that the parameters name the dataset that the catalog reads."""
        runtime = OmegaConf.create(self.runtime_params)
        for key in ("name", "source", "root") if dataset.source == "xbd" else ("name", "source"):
            override, value = OmegaConf.select(runtime, f"dataset.{key}"), str(getattr(dataset, key))
            named = str(self["globals"]["dataset"][key] if override is None else override)
            if Path(value) != Path(named):  # a root may end in a slash
                raise ConfigError(
                    f"dataset.{key} is {value!r}, but the catalog reads and writes {named!r}.",
                    hint=f"Write dataset: {{{key}: ...}} in globals.yml, or pass --params dataset.{key}=...",
                )

    def _require(self, kind: Literal["users", "experiments"], name: str) -> None:
        known = self.known(kind)
        if name not in known:
            raise ConfigError(
                f"Unknown {kind.removesuffix('s')} {name!r} in --env {self.env or self.default_run_env}. "
                f"Known {kind}: {', '.join(known) or 'none'}.",
                hint=f"Create {self.conf_source}/{kind}/<name> to add one.",
            )


def _require_known_names(parameters: Parameters) -> None:
    """Require that the decoder, losses and formats that the parameters name exist."""
    find_decoder(parameters.model)
    check_formats(parameters.inference.formats)
    losses = parameters.training.losses
    if losses.pre.model_extra or losses.post.model_extra:
        from xview2_siamese_unet.training.losses import check_losses  # noqa: PLC0415  torch is slow to import

        check_losses(losses)


def overlooked_logging(project: Path | None) -> Path | None:
    """Return the project's `conf/logging.yml` if Kedro, which searches the current folder, has not found it."""
    if project is None or os.environ.get("KEDRO_LOGGING_CONFIG") or find_config_file("conf/logging"):
        return None
    file: Path | None = find_config_file(str(project / "conf" / "logging"))
    return file


def use_logging(project: Path | None) -> None:
    """Use the project's logging configuration, whatever the current folder."""
    if overlooked := overlooked_logging(project):
        configure_logging(yaml.safe_load(overlooked.read_text(encoding="utf-8")))


def known_names(conf_source: str, kind: Literal["users", "experiments"]) -> list[str]:
    """Return the folders below `kind`, in a folder or an archive of configuration."""
    archive = _ARCHIVES.get(mimetypes.guess_type(conf_source)[0] or "", "")
    files, root = url_to_fs(archive + conf_source)
    top = files.ls("", detail=False)[-1] if archive else root  # the entry that Kedro uses as the conf folder
    try:
        paths = [entry["name"] for entry in files.ls(f"{top}/{kind}", detail=True) if entry["type"] == "directory"]
    except FileNotFoundError:
        return []
    names = (path.rstrip("/").rpartition("/")[2] for path in paths)
    return sorted(name for name in names if re.fullmatch(NAME, name))


def layer_files(conf_source: str, layer: str, *kinds: str) -> list[Path]:
    """Return the files of a layer that a run reads, by Kedro's own patterns.

    Args:
        conf_source: folder of the configuration.
        layer: a folder below it, such as `experiments/strong`.
        kinds: such as `parameters`; default: all.
    """
    folder = Path(conf_source) / layer
    known = _patterns(conf_source)
    patterns = [pattern for kind in kinds or known for pattern in known[kind]]
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.suffix in _SUFFIXES}
    return sorted(
        path
        for inside, path in files.items()
        if any(fnmatch(inside.as_posix(), pattern) for pattern in patterns)
        and not any(part.startswith(".") for part in inside.parts)
    )


@cache
def _patterns(conf_source: str) -> dict[str, list[str]]:
    # Kedro reads globals on construction; a layer that does not exist has none.
    patterns: dict[str, list[str]] = OmegaConfigLoader(conf_source, base_env="no layer").config_patterns
    return patterns


def _soften(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings merged key by key; `over` takes precedence unless both values are sections."""
    both = {
        key: _soften(under[key], over[key])
        for key in under.keys() & over.keys()
        if isinstance(under[key], Mapping) and isinstance(over[key], Mapping)
    }
    return {**under, **over, **both}


def _select(values: Mapping[str, Any], key: str, default: object = _MISSING) -> object:
    # Without OmegaConf, which would take half of the time to open a configuration.
    value: object = values
    for part in key.split("."):
        value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    value = default if value is _MISSING else value
    if value is _MISSING:
        raise InterpolationResolutionError(f"globals have no key {key!r}; known keys: {', '.join(values)}")
    return value
