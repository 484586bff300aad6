"""What happens around a run, whichever pipelines it has."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.io.core import is_parameter
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.training.processes import launched_shard

logger = logging.getLogger(__name__)

QUIET: Final = ("kedro", "kedro.io", "kedro.pipeline", "kedro.runner", "xview2_siamese_unet")
"""Loggers that speak on rank 0 only; each has a level of its own in conf/logging.yml."""

_UNTIMED: Final = {"inference"}
"""Tag of the pipeline that belongs to no experiment and keeps times of its own."""
_SHARED_OUT: Final = "modelling"
"""Tag of the pipeline that several processes share."""


def _maker(dataset: str) -> str | None:
    named = (name for name in pipelines if name != "__default__")
    return next((name for name in named if dataset in pipelines[name].all_outputs()), None)


class InputsExist:
    """Stops a run that needs what another pipeline makes before its first node, and names that pipeline."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look for each input of the run that a pipeline of this project makes.

        Raises:
            DataError: such an input is not there.
        """
        absent = [name for name in sorted(pipeline.inputs()) if not is_parameter(name) and not catalog.exists(name)]
        if not absent:
            return
        pipelines.set_requested(None)  # a run has loaded only those it was asked for
        made = {name: maker for name in absent if (maker := _maker(name))}
        if made:
            first = ",".join(sorted(set(made.values())))
            raise DataError(
                "inputs of this run",
                found=f"no {', '.join(made)}",
                allowed="inputs that earlier pipelines made, for the same user, experiment, dataset and settings",
                remedy=f"run --pipelines {first} before, or together with this",
            )


class ScenesAreWhole:
    """Stops a run over a download that it could not use before anything is written."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """List the files of a download that the run begins with; an archive shows its own only when it is unpacked.

        Raises:
            DataError: it is none, or a scene is not complete and none may be left out.
        """
        if "raw_scenes" not in pipeline.all_outputs():
            return
        from xview2_siamese_unet.xbd.archives import is_archive  # noqa: PLC0415  other commands need no archives
        from xview2_siamese_unet.xbd.pairing import list_pairs  # noqa: PLC0415

        download = getattr(catalog["raw_scenes"], "download", None)  # another rank keeps scenes in memory
        if download is not None and not is_archive(download):
            _, problems = list_pairs(download)
            if problems and catalog.load("params:data_processing").on_problem == "stop":
                raise problems[0]


class ModelIsThere:
    """Stops an assessment that has no model to answer with before it works on its images."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Read the model; the run reads it again, which takes a moment where the images take minutes.

        Raises:
            CheckpointError: there is none, or the file is none.
        """
        if "assessing_model" not in pipeline.all_outputs():
            return
        from xview2_siamese_unet.inference.answer import choose_model  # noqa: PLC0415  other runs need no torch

        named = catalog.load("params:inference").model
        choose_model(named, None if named is not None else catalog.load("checkpoint"))


class Steps:
    """Says which node starts, and how many there are: one line each, where Kedro writes ten."""

    def __init__(self) -> None:
        self._started = 0
        self._total = 0

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Count the nodes of the run."""
        self._started, self._total = 0, len(pipeline.nodes)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Name the node."""
        self._started += 1
        logger.info("%d of %d: %s", self._started, self._total, node.name)


class Timing:
    """Writes into `timings` how long each node took, from its first input to its last output; the report shows it.

    A generator does its work while its parts are saved, so what counts is when the last of them was.
    """

    def __init__(self) -> None:
        self._catalog: DataCatalog | None = None
        self._started: dict[str, float] = {}
        self._ended: dict[str, dict[str, Any]] = {}

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Remember where to write, and start anew."""
        self._catalog, self._started, self._ended = catalog, {}, {}

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Start the clock at the first input; write down what has ended before somebody reads it."""
        self._started.setdefault(node.name, time.monotonic())
        if dataset_name == "timings":
            self._write()

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the clock of a node without inputs."""
        self._started.setdefault(node.name, time.monotonic())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Read the clock."""
        self._read_clock(node)

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        """Read the clock again."""
        self._read_clock(node)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Write down the rest."""
        self._write()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Write down what ended before."""
        self._write()

    def _read_clock(self, node: Node) -> None:
        pipeline = next(iter(node.tags - _UNTIMED), None)
        if pipeline is not None:
            seconds = round(time.monotonic() - self._started[node.name], 3)
            ended = datetime.now(UTC).isoformat(timespec="seconds")
            self._ended[node.name] = {"pipeline": pipeline, "seconds": seconds, "ended": ended}

    def _write(self) -> None:
        if self._catalog is None or not self._ended or launched_shard().rank > 0:
            return
        if "run" not in self._catalog or self._catalog.exists("run"):  # a part of a dataset belongs to no run
            self._catalog.save("timings", self._ended)


class SeveralOnlyTrain:
    """Stops a run in several processes that would do more than training: no other pipeline is shared out."""

    @hook_impl(tryfirst=True)  # with one sentence in every process, whatever else each of them might find
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Look where the nodes are from.

        Raises:
            ConfigError: `torchrun` launched several processes, and a node is from another pipeline than modelling.
        """
        others = {tag for node in pipeline.nodes for tag in node.tags} - {_SHARED_OUT}
        if launched_shard().world > 1 and others:
            raise ConfigError(
                "pipelines of this run",
                found=f"{', '.join(sorted(others))} in {launched_shard().world} processes",
                allowed=f"{_SHARED_OUT} alone, for the others work in one process",
                remedy="run kedro run --pipelines data_processing,feature_statistics, then torchrun with "
                f"-m kedro run --pipelines {_SHARED_OUT}, then kedro run --pipelines reporting",
            )


class RankZeroWrites:
    """Under `torchrun` each process runs the same pipeline; only rank 0 writes and speaks."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Keep what the other ranks make in memory."""
        if launched_shard().rank == 0:
            return
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
        for name in pipeline.all_outputs():
            catalog[name] = MemoryDataset(copy_mode="assign")


class RunEnding:
    """Says at the end of a run that scored a model what the score is, and where the report lies."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, Any]) -> None:
        """Remember where datasets lie; a dataset itself does not tell."""
        self._paths = {name: entry["filepath"] for name, entry in conf_catalog.items() if "filepath" in entry}

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Print the score of `metrics` and the path of `report`, each if this run made it."""
        made = pipeline.all_outputs()
        if launched_shard().rank > 0:
            return
        if "metrics" in made:
            # click and not the log: a log handler would wrap the path, and a path must stay one word to be copied.
            click.echo(_headline(catalog["metrics"].load()))
        if "report" in made and "report" in self._paths:
            click.echo(f"Report: {self._paths['report']}")


def _headline(metrics: Mapping[str, float]) -> str:
    return (
        f"Score: {metrics['score']:.3f} (best constant answer {metrics['constant_prediction_score']:.3f}), "
        f"localisation F1 {metrics['localization_f1']:.3f}, damage F1 {metrics['damage_f1']:.3f}"
    )
