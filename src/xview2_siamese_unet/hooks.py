"""Hooks that log and time a run, print its result, and keep ranks above 0 from writing."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import click
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.training.distributed import get_rank

_log = logging.getLogger(__name__)

QUIET: Final = ("kedro", "kedro.io", "kedro.pipeline", "kedro.runner", "xview2_siamese_unet")
"""Loggers that log on rank 0 only; each has its level in conf/logging.yml."""


class Steps:
    """Logs one line for each node, instead of Kedro's ten, and the time of each pipeline.

    A node is timed from its first input to its last output, because a generator works while its parts are saved.
    """

    def __init__(self) -> None:
        self._total = 0
        self._started: dict[str, float] = {}
        self._seconds: dict[str, dict[str, float]] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Count the nodes of the run."""
        self._total, self._started, self._seconds = len(pipeline.nodes), {}, {}

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Log the node at its first input."""
        if node.name not in self._started:
            self._started[node.name] = time.monotonic()
            _log.info("%d of %d: %s", len(self._started), self._total, node.name)

    before_node_run = before_dataset_loaded  # of a node without inputs

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Record the time of the node so far."""
        for pipeline in node.tags:
            self._seconds.setdefault(pipeline, {})[node.name] = time.monotonic() - self._started[node.name]

    after_dataset_saved = after_node_run

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Log the time of each pipeline."""
        for pipeline, seconds in self._seconds.items():
            _log.info("%s took %.1f s", pipeline, sum(seconds.values()))
            _log.debug("%s", ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items()))

    on_pipeline_error = after_pipeline_run


class RankZeroWrites:
    """Lets only rank 0 write files and log; all ranks of `torchrun` run the pipeline."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Keep the outputs of the other ranks in memory."""
        if get_rank() == 0:
            return
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
        for name in pipeline.all_outputs():
            catalog[name] = MemoryDataset(copy_mode="assign")


class RunEnding:
    """Prints the score and the path of the report at the end of a run that wrote them."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, Any]) -> None:
        """Keep the paths, which a dataset does not expose."""
        self._paths = {name: entry["filepath"] for name, entry in conf_catalog.items() if "filepath" in entry}

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Print the score and the path, each if this run made it."""
        made = pipeline.all_outputs()
        if get_rank() > 0:
            return
        if "metrics" in made:
            # click and not the log: a log handler would wrap the path, and a path must stay one word to be copied.
            click.echo(_headline(catalog["metrics"].load()))
        if "report" in made and "report" in self._paths:
            click.echo(f"Report: {self._paths['report']}")


def _headline(metrics: Mapping[str, float]) -> str:
    return (
        f"Score: {metrics['score']:.3f} (best constant prediction {metrics['constant_prediction_score']:.3f}), "
        f"localisation F1 {metrics['localization_f1']:.3f}, damage F1 {metrics['damage_f1']:.3f}"
    )
