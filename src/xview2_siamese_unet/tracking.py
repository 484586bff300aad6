"""Results of runs in an MLflow tracking store, if `mlflow` in globals.yml names one."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.runs import flatten
from xview2_siamese_unet.training.distributed import get_rank

if TYPE_CHECKING:
    import pandas as pd

    from xview2_siamese_unet.config_loader import UserExperimentConfigLoader

_log = logging.getLogger(__name__)

_RESULTS: Final = ("checkpoint", "history", "metrics", "report")
"""Datasets whose files are logged, with that of `run`, if the pipelines of the session made them."""

_READ: Final = {"run", "history", "metrics"}
"""Datasets whose numbers are logged, too."""


class Tracking:
    """Hooks that log a run to MLflow when its results are on disk, and only on rank 0.

    A store that cannot be reached stops the session before its first node. A store that fails later is reported
    in a warning: no result is lost, and the same command logs them again. No epoch is logged twice.
    """

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._paths: dict[str, str] = {}
        self._store: Store | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the context, which has the configuration."""
        self._context = context

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, Any]) -> None:
        """Keep the paths, which a dataset does not expose."""
        self._paths = {name: entry["filepath"] for name, entry in conf_catalog.items() if "filepath" in entry}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Open the store, if there is one and the pipelines make something for it.

        Raises:
            ConfigError: the store cannot be opened.
        """
        self._store = None
        if get_rank() > 0 or self._context is None or pipeline.all_outputs().isdisjoint(_RESULTS):
            return
        config = cast("UserExperimentConfigLoader", self._context.config_loader)
        named = config["globals"]
        if (uri := named["mlflow"]) is not None:
            if "://" not in uri:
                uri = (self._context.project_path / Path(uri).expanduser()).as_uri()
            self._store = Store(uri, f"{named['group']}/{named['experiment']}")

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Log what the pipelines made."""
        if self._store is None:
            return
        made = ["run", *(name for name in _RESULTS if name in pipeline.all_outputs())]
        contents: dict[str, Any] = {name: catalog[name].load() for name in made if name in _READ}
        run, uri = contents["run"]["id"], self._store.uri
        try:
            self._store.log(contents, [self._paths[name] for name in made])
        except Exception as error:  # whatever a store raises, the results are on disk
            _log.warning(
                "Run %s is complete, but not all of it was logged to MLflow at %s: %s. The same command tries again.",
                *(run, uri, _first_line(error)),
            )
        else:
            _log.info("run %s is logged to MLflow at %s", run, uri)


class Store:
    """An experiment in a tracking store.

    Args:
        uri: of the store, or a folder.
        experiment: its name; it is created if the store has none of this name.

    Raises:
        ConfigError: the store cannot be opened.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        # Before the import. MLflow does not observe DO_NOT_TRACK=1, which Kedro does.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # which MLflow refuses by default in favour of its database
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # 7 take minutes to report a wrong address
        mlflow = import_module("mlflow")  # an extra, and slow to import
        try:
            self._client = mlflow.MlflowClient(uri)
            existing = self._client.get_experiment_by_name(experiment)
            # MLflow refuses to create an experiment that was deleted, and explains how to restore it.
            known = existing is not None and existing.lifecycle_stage == "active"
            self._experiment = existing.experiment_id if known else self._client.create_experiment(experiment)
        except (mlflow.MlflowException, OSError) as error:
            raise ConfigError(
                f"MLflow cannot open {uri} ({_first_line(error)}).",
                hint="Correct mlflow in globals.yml or start the server; null runs without MLflow.",
            ) from error

    def log(self, contents: Mapping[str, Any], files: Iterable[str]) -> None:
        """Log a run under its id; data that the store already has are kept.

        Args:
            contents: of `run`, and of `history` and `metrics` if there are any.
            files: logged as artifacts, in place of those with the same name.
        """
        record = contents["run"]
        known = self._client.search_runs([self._experiment], f"attributes.run_name = '{record['id']}'")
        run = (known[0] if known else self._client.create_run(self._experiment, run_name=record["id"])).info.run_id
        logged = {metric.step for metric in self._client.get_metric_history(run, "train_loss")}
        numbers = _scores(contents["metrics"]) if "metrics" in contents else []
        if "history" in contents:
            history = contents["history"]
            numbers += _epochs(history[~history["epoch"].isin(logged)])
        entities, now = import_module("mlflow.entities"), int(time.time() * 1000)
        metrics = [entities.Metric(name, value, now, epoch) for name, value, epoch in numbers]
        params = [entities.Param(*each) for each in flatten(record["settings"]).items()]
        tags = [entities.RunTag(key, str(record[key])) for key in ("code", "data", "version", "commit")]
        self._client.log_batch(run, metrics, params, tags)
        for file in files:
            self._client.log_artifact(run, file)
        self._client.set_terminated(run)


def _epochs(history: pd.DataFrame) -> list[tuple[str, float, int]]:
    """Return name, value and epoch of each number."""
    rows = [
        (str(name), float(value), int(row["epoch"]))
        for row in history.to_dict("records")
        for name, value in row.items()
    ]
    # Only epochs with a profiler have its numbers.
    return [row for row in rows if row[0] != "epoch" and not isnan(row[1])]


def _scores(metrics: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Return each score as `<split>/<name>`, its value, and 0 for the epoch."""
    split = "_".join(metrics["splits"])
    return [(f"{split}/{name}", value, 0) for name, value in metrics.items() if isinstance(value, int | float)]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].removesuffix(".") or type(error).__name__
