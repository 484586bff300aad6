"""`plan_campaign()`, `run_campaign()` and `campaign_status()` for Python and notebooks."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from xview2_siamese_unet.assessment import assess, find_model
from xview2_siamese_unet.atomic import IN_USE, remove_debris, sha256
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.collection import COLLECTION, is_collection, write_collection
from xview2_siamese_unet.campaign.footprints import Footprints, divide_footprints, read_zones, write_footprints
from xview2_siamese_unet.campaign.jobs import (
    SCENES,
    Task,
    digest,
    file_state,
    is_finished,
    make_task,
    read_state,
    run_task,
)
from xview2_siamese_unet.campaign.merge import LAYER
from xview2_siamese_unet.campaign.mosaic import MOSAICS, write_mosaics
from xview2_siamese_unet.campaign.overview import OVERVIEW, write_overview
from xview2_siamese_unet.campaign.page import plan_page
from xview2_siamese_unet.campaign.plan import Job, Plan, make_plan
from xview2_siamese_unet.campaign.plan_files import read_plan, require_no_plan, write_plan
from xview2_siamese_unet.campaign.table import HISTORY, PARQUET, SUMMARIES, write_table
from xview2_siamese_unet.cli.command import as_called, find_path, open_configuration
from xview2_siamese_unet.config.adaptation import is_checkpoint
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError, DataError, InUseError, StorageError
from xview2_siamese_unet.inference.no_model import NONE
from xview2_siamese_unet.inference.vector_formats import split_layer
from xview2_siamese_unet.locks import acquire
from xview2_siamese_unet.models.card import ONNX, find_card
from xview2_siamese_unet.models.machine import one_thread, use_one_gpu
from xview2_siamese_unet.parallel import parallel_map, worker_number
from xview2_siamese_unet.training.provenance import code_digest

_NOT_IN_DIGEST: Final = {"pre", "post", "out", "model", "footprints", "aoi", "masks", "zones", "overwrite"}
"""Keys of `inference` that are left out of the digest of the settings, or have a separate digest."""
_CODE: Final = ("pipelines.inference.nodes", "pipelines.inference.pages")
"""Modules whose code, with all modules that they import, determines the result of an assessment."""
_LOCK: Final = ".campaign.lock"
_TABLES: Final = (LAYER, PARQUET, *SUMMARIES, OVERVIEW)
"""Files that every campaign has."""
_SESSION_LOCK: Final = Lock()
"""Kedro allows one session per process, but a Dask worker may have several threads."""
_log = logging.getLogger(__name__)


def plan_campaign(
    catalogue: Path | str, out: Path | str, event_date: str | None = None, *, history: bool = False
) -> Plan:
    """Choose pairs of images and write the jobs; the same as `kedro campaign plan CATALOGUE --out OUT`.

    Args:
        catalogue: a STAC catalogue or collection on disk, a folder of scenes, or a table of pairs.
        out: folder of the plan.
        event_date: date in UTC; default: that of the catalogue.
        history: whether to assess also the other days after the event.

    Raises:
        ProjectError: the catalogue cannot be read, or the folder already holds a plan.
    """
    catalogue, out = (Path(path).expanduser().absolute() for path in (catalogue, out))
    require_no_plan(out)
    plan = make_plan(read_catalogue(catalogue, event_date), history=history)
    for warning in plan.warnings:
        _log.warning("%s", warning)
    write_plan(out, plan, plan_page(plan, f"Plan for {catalogue.name}"))
    return plan


class Status(NamedTuple):
    """Progress of a campaign.

    Attributes:
        jobs: number of jobs in the plan.
        done: number of jobs that are assessed.
        failed: name of a job → reason.
    """

    jobs: int
    done: int
    failed: dict[str, str]

    @property
    def waiting(self) -> int:
        """Number of jobs that are neither assessed nor failed."""
        return self.jobs - self.done - len(self.failed)


def campaign_status(folder: Path | str) -> Status:
    """Return the progress of the campaign in a folder; the same as `kedro campaign status FOLDER`."""
    folder = Path(folder).expanduser().absolute()
    jobs = read_plan(folder)
    ended = {job.name: state.error for job in jobs if (state := read_state(folder, job)) is not None}
    failed = {name: reason for name, reason in ended.items() if reason is not None}
    return Status(len(jobs), len(ended) - len(failed), failed)


def run_campaign(
    folder: Path | str,
    *,
    model: Path | str | None = None,
    footprints: Path | str | None = None,
    zones: Path | str | None = None,
    workers: int | None = None,
    env: str | None = None,
) -> dict[str, Any]:
    """Assess the jobs of a plan, and write one table of buildings; the same as `kedro campaign run FOLDER`.

    Args:
        folder: of the plan.
        model: as for `assess`; default: the newest finished run of `env`.
        footprints: of the whole area.
        zones: polygons to count the buildings of the table by.
        workers: processes; default: those of the parameters.
        env: `<user>/<experiment>`.

    Returns:
        The content of `summary.json`.

    Raises:
        ProjectError: the settings cannot be used, another process runs this campaign, or all jobs failed.
    """
    return run_jobs(Path(folder).expanduser().absolute(), choose_settings(model, footprints, zones, workers, env))


class Settings(NamedTuple):
    """Settings shared by all jobs.

    Attributes:
        arguments: keyword arguments of `assess`.
        inference: parameters of the experiment, with the footprints and zones of the command.
        made_with: digest of code, model and parameters.
        executor: number and kind of the worker processes.
    """

    arguments: dict[str, Any]
    inference: InferenceParams
    made_with: str
    executor: ExecutorParams


def choose_settings(
    model: Path | str | None,
    footprints: Path | str | None,
    zones: Path | str | None,
    workers: int | None,
    env: str | None,
) -> Settings:
    """Return the settings of the experiment, overridden by the options; all jobs use the same model.

    Raises:
        CheckpointError: there is no model.
        ConfigError: the parameters set an area of interest or masks, or the model does not exist.
    """
    loader = open_configuration(env)
    parameters = loader["parameters"]
    inference = InferenceParams.model_validate(parameters["inference"])
    for key, replaced in (("aoi", "the area of its tile"), ("masks", "the masks of its images in images.geojson")):
        if getattr(inference, key):
            raise ConfigError(
                f"inference.{key} is set in the parameters, but each job of a campaign has {replaced}.",
                hint="Leave it out of the parameters.",
            )
    executor = ExecutorParams.model_validate(parameters["executor"])
    if workers is not None:
        kind = "processes" if executor.kind == "serial" and workers > 1 else executor.kind
        executor = executor.model_copy(update={"kind": kind, "workers": workers})
    experiment = "/".join(loader.user_and_experiment)
    chosen_model = model or inference.model
    if chosen_model is None:  # with the id of the run, so that a training that ends meanwhile does not change the model
        path = find_path(loader, "checkpoint")
        arguments: dict[str, Any] = {"env": f"{experiment}@{loader.run.name}"}
    else:
        path = find_model(str(chosen_model), env)
        path = path if path == NONE else path.expanduser().absolute()
        arguments = {"env": experiment, "model": path}
    digested = inference.model_dump(mode="json", exclude=_NOT_IN_DIGEST)
    zones_state = inference.zones and file_state(split_layer(inference.zones.expanduser())[0])
    made_with = digest([code_digest(*_CODE), _model_digest(path), digested, zones_state, parameters["hardware"]])
    named_files = {"footprints": footprints, "zones": zones}  # the command's zones apply to the merged table only
    update = {key: Path(path).expanduser().absolute() for key, path in named_files.items() if path is not None}
    return Settings(arguments, inference.model_copy(update=update), made_with, executor)


def _model_digest(path: Path) -> str:
    if path == NONE:
        return str(NONE)
    if not path.is_file():
        raise CheckpointError(
            f"There is no model {path}.",
            hint="Name one with --model, or run kedro run with the same environment first.",
        )
    return sha256(find_card(path) if path.suffix == ONNX else path)


def run_jobs(folder: Path, settings: Settings) -> dict[str, Any]:
    """Assess unfinished jobs and write the products of the whole campaign; return the content of `summary.json`.

    Raises:
        StorageError: another process is running this campaign.
        ConfigError: a file of the user would be replaced.
        DataError: all jobs failed.
    """
    jobs = read_plan(folder)
    require_free_paths(folder, settings.inference.footprints, settings.inference.zones)
    lock = acquire(folder / _LOCK)
    if lock is None:
        raise StorageError(f"Another process is running the campaign in {folder}.", hint="Wait until it ends.")
    try:
        remove_debris(folder)
        return _run(folder, jobs, settings)
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()


def require_free_paths(folder: Path, *inputs: Path | None) -> None:
    """Require that the campaign replaces only files of an earlier run.

    Raises:
        ConfigError: it would replace another file, such as the STAC collection that the plan was made from.
    """
    products = [folder / name for name in (*_TABLES, HISTORY, MOSAICS, COLLECTION)]
    input_files = {split_layer(path)[0].resolve() for path in inputs if path is not None}
    has_earlier_run = (folder / SCENES).is_dir()
    for path in products:
        is_own = has_earlier_run and path.resolve() not in input_files
        is_own = is_own and (path.name != COLLECTION or is_collection(path))
        if path.exists() and not is_own:
            raise ConfigError(
                f"{path} would be replaced by this campaign.", hint="Move it, or plan into another folder with --out."
            )


def _run(folder: Path, jobs: tuple[Job, ...], settings: Settings) -> dict[str, Any]:
    inference, tiles = settings.inference, {job.tile for job in jobs}
    footprints = zones = None
    if inference.footprints is not None:
        footprints = divide_footprints(inference.footprints, inference.buildings.id_column, tiles)
    if inference.zones is not None:
        zones = read_zones(inference.zones, inference.zone_column, tiles)
    for layer in (footprints, zones):
        for warning in () if layer is None else layer.warnings:
            _log.warning("%s", warning)
    tasks = _make_tasks(folder, jobs, footprints, settings)
    waiting = [task for task in tasks if not is_finished(task)]
    if len(waiting) < len(tasks):
        _log.info("%d of %d assessments are finished and reused", len(tasks) - len(waiting), len(tasks))
    imports = [f"{__package__}.pipelines.inference"]
    arguments = settings.arguments
    if "model" not in arguments or is_checkpoint(str(arguments["model"])):  # the model of a run is a checkpoint
        imports.append(f"{__package__}.models.predictor")
    run = partial(run_task, assess_on_one_thread)
    reasons = parallel_map(run, waiting, settings.executor, "scenes assessed", imports)
    failed = {task.job.name: reason for task, reason in zip(waiting, reasons, strict=True) if reason is not None}
    for name, reason in failed.items():
        _log.error("%s failed: %s", name, as_called(reason))
    if len(failed) == len(jobs):
        raise DataError(f"All {len(jobs)} jobs failed, the first: {failed[jobs[0].name]}", hint="Correct them first.")
    counts = write_table(folder, tasks, failed, footprints, None if zones is None else zones.frame)
    write_overview(folder, tasks, failed, counts)
    mosaics = write_mosaics(folder, [task for task in tasks if task.job.name not in failed])
    history = [] if footprints is None else [HISTORY]
    write_collection(folder, tasks, failed, [*_TABLES, *history, *mosaics])
    for warning in counts["warnings"]:
        _log.warning("%s", warning)
    return counts


def _make_tasks(folder: Path, jobs: tuple[Job, ...], footprints: Footprints | None, settings: Settings) -> list[Task]:
    files: dict[Any, Path] = {}
    if footprints is not None:
        column = settings.inference.buildings.id_column
        files = {
            tile: write_footprints(folder, tile, footprints.of(tile), column) for tile in {job.tile for job in jobs}
        }
    return [make_task(job, folder, files.get(job.tile), settings.arguments, settings.made_with) for job in jobs]


def assess_on_one_thread(pre: Path | str, post: Path, out: Path, **arguments: Any) -> None:  # noqa: ANN401
    """Assess a pair with one thread, on the GPU of this worker; wait while another worker assesses it.

    With one thread, workers share the cores, and sums always round in the same way. The other worker belongs to an
    earlier command whose client or scheduler was killed.
    """
    with _SESSION_LOCK:
        if (number := worker_number()) is not None:
            use_one_gpu(number)
        while True:
            if (out / IN_USE).exists() and (lock := acquire(out / IN_USE, seconds=-1)):
                lock.release()
            with one_thread(), suppress(InUseError):  # another worker may have begun meanwhile
                assess(pre, post, out, **arguments)
                return
