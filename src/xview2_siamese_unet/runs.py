"""Runs of an experiment: choice of the run of a session, comparison of two runs, removal of old ones.

A run is a folder `<layer>/<group>/<experiment>/<run>` in each layer from 04_feature to 08_reporting. `run.json` in
06_models records what made it: every setting, including `--params`, a digest of the code, and a digest of the data.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.io.core import generate_timestamp
from pydantic import BaseModel

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.training.distributed import get_rank
from xview2_siamese_unet.training.provenance import code_digest

if TYPE_CHECKING:
    from xview2_siamese_unet.config_loader import UserExperimentConfigLoader

_log = logging.getLogger(__name__)

MODELS: Final = "06_models"
_RECORD: Final = "run.json"
_CODE: Final = (
    *("xbd.ingest", "xbd.splits", "raster.masks", "raster.packing"),
    *("stats", "training.trainer", "pipelines.modelling.nodes"),
)
"""Modules whose code, with all modules that they import, determines the trained weights."""
READ_ONLY_SECTIONS: Final = frozenset({"reporting", "inference", "adaptation", "validation", "run"})
"""Sections whose settings do not distinguish runs, because they only apply to commands that read a run."""
_MAKERS: Final = {"__default__", "data_processing", "feature_statistics", "modelling"}
"""Pipelines that begin or resume a run; all others read an existing one."""
_INDIFFERENT: Final = (
    *("executor.", "hardware.", "dataloader.", "dataset.root", "data_processing.shard.", "submission."),
    *("training.reuse", "training.lr_find"),
)
"""Prefixes of keys that change the speed or the location of a result, but not the result itself."""


class Run(NamedTuple):
    """One execution of an experiment.

    Attributes:
        folder: below 06_models.
        record: its settings, code and data, see `describe_run`.
        reason: why a session uses it, for the log.
    """

    folder: Path
    record: dict[str, Any]
    reason: str = ""

    @property
    def name(self) -> str:
        """Id of the run."""
        return self.folder.name

    @property
    def key(self) -> str:
        """Digest of settings and code: two runs with the same key differ at most in their data."""
        deciding = json.dumps([_deciding(self.record), self.record["code"]], sort_keys=True)
        return blake2b(deciding.encode(), digest_size=8).hexdigest()

    @property
    def is_finished(self) -> bool:
        """Whether it has a trained model."""
        return any(self.folder.glob("*/*_best_siamese_unet_state.pth"))

    @property
    def has_begun(self) -> bool:
        """Whether an epoch of its training has finished."""
        return any(self.folder.rglob("last.ckpt"))


def describe_run(settings: Mapping[str, Any], data: str | None) -> dict[str, Any]:
    """Return the record of a run: its settings, a digest of the code, and a digest of the data.

    Args:
        settings: all parameters.
        data: digest of the scenes, `None` if they are not known yet.
    """
    made = Parameters.model_validate(settings).model_dump(mode="json", exclude=set(READ_ONLY_SECTIONS))
    return {"settings": made, "code": code_digest(*_CODE), "data": data}


def record_differences(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the differences between two records, such as `training.epochs 20 (now 3)`.

    Unknown data count as the same.
    """
    one, other = _deciding(made), _deciding(wanted)
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    differences = [f"{key} {one.get(key, '–')} (now {other.get(key, '–')})" for key in keys]
    differences += ["other code"] if made["code"] != wanted["code"] else []
    known = made["data"] is not None and wanted["data"] is not None
    return differences + (["other scenes"] if known and made["data"] != wanted["data"] else [])


def list_runs(experiment: Path) -> list[Run]:
    """Return the runs below a folder of 06_models, the newest first.

    Raises:
        DataError: a record that cannot be read.
    """
    return [Run(path.parent, _read(path)) for path in sorted(experiment.glob(f"*/{_RECORD}"), reverse=True)]


def find_run(experiment: Path, named: str | None, wanted: dict[str, Any], *, same_settings: bool) -> Run:
    """Return the run that a session reads: the named one, or the newest finished one.

    Without a finished run, it is the newest run, or a new one without any files.

    Args:
        experiment: folder of its runs in 06_models.
        named: id of a run.
        wanted: record of the run of this session, see `describe_run`.
        same_settings: whether the run must have the settings and the code of `wanted`.

    Raises:
        ConfigError: there is no such run.
        DataError: a record that cannot be read.
    """
    runs = list_runs(experiment)
    shown = "/".join(experiment.parts[-2:])
    if named is not None:
        if found := next((run for run in runs if run.name == named), None):
            return found
        names = ", ".join(run.name for run in runs) or "none"
        raise ConfigError(f"{shown} has no run {named!r}.", hint=f"Name one of its runs: {names}.")
    newest = next((run for run in runs if run.is_finished), next(iter(runs), Run(experiment / _now(), wanted)))
    if not same_settings or not runs:
        return newest
    same = (run for run in runs if run.is_finished and not record_differences(run.record, wanted | {"data": None}))
    if found := next(same, None):
        return found
    why = ", ".join(record_differences(newest.record, wanted)) or "it is not finished"
    raise ConfigError(
        f"No finished run of {shown} has these settings. Newest run {newest.name}: {why}.",
        hint="Leave them out to use the newest run, name another with --params run=..., or train with them first.",
    )


def choose_run(experiment: Path, named: str | None, wanted: dict[str, Any], *, reuse: bool) -> Run:
    """Return the run that a session begins or resumes: the newest with the same record, or a new one.

    Args:
        experiment: folder of its runs in 06_models.
        named: id of a run.
        wanted: record of the run of this session, see `describe_run`.
        reuse: whether a run whose training has begun is resumed.

    Raises:
        ConfigError: the named run does not exist, or has other settings, data or code.
        DataError: a record that cannot be read.
    """
    if named is not None:
        run = find_run(experiment, named, wanted, same_settings=False)
        if differences := record_differences(run.record, wanted):
            raise ConfigError(
                f"Run {named} cannot be resumed: it has {', '.join(differences)}.",
                hint="Leave run out to begin a new one, or restore its settings, data and code.",
            )
        return run._replace(reason=f"run {named}, as requested")
    runs = list_runs(experiment)
    usable = (run for run in runs if reuse or not (run.has_begun or run.is_finished))
    if same := next((run for run in usable if not record_differences(run.record, wanted)), None):
        reason = f"run {same.name} {'is finished and reused' if same.is_finished else 'is resumed'}: same settings, "
        reason += "scenes and code"
        if (newest := next((run.name for run in runs if run.is_finished), "")) > same.name:
            reason += f"; other commands use the newer run {newest} unless they name a run"
        return same._replace(reason=reason)
    new = Run(experiment / _now(), wanted)
    differences = record_differences(runs[0].record, wanted) if runs else []
    why = (
        f"run {runs[0].name} has {', '.join(differences) or 'begun, and training.reuse is false'}"
        if runs
        else "the first"
    )
    if not runs and (old := next(experiment.glob("*/*_best_siamese_unet_state.pth"), None)):
        why += f"; {old} is of a version without runs: name it with --model, or remove it"
    return new._replace(reason=f"run {new.name} is new: {why}")


def _now() -> str:
    stamp: str = generate_timestamp()
    return stamp


def begin_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a new run; reuse the epochs of one that differs only in `prediction`.

    Args:
        folder: of the run, in 06_models.
        record: see `describe_run`.
    """
    for run in list_runs(folder.parent):
        differences = record_differences(run.record, record)
        if run.has_begun and differences and all(each.startswith("prediction.") for each in differences):
            _log.info("run %s reuses the epochs of run %s: only prediction differs", folder.name, run.name)
            for epochs in run.folder.rglob("epochs"):
                shutil.copytree(epochs, folder / epochs.relative_to(run.folder))
            break
    # Last, because a folder without a record is not a run.
    write_atomically(folder / _RECORD, json.dumps({"id": folder.name, **record}, indent=2))


def remove_run(storage: Path, experiment: str, run: str) -> None:
    """Remove all files of a run.

    Args:
        storage: root of the layers.
        experiment: `<group>/<experiment>`.
        run: its id.
    """
    # The record first: after an interrupted removal, the rest does not count as a run.
    (storage / MODELS / experiment / run / _RECORD).unlink(missing_ok=True)
    for folder in storage.glob(f"0?_*/{experiment}/{run}"):
        shutil.rmtree(folder)


def _deciding(record: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in flatten(record["settings"]).items() if not key.startswith(_INDIFFERENT)}


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["settings"], record["code"], record["data"]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} is not a record of a run ({type(error).__name__}: {error}).", hint=f"Remove {path.parent}."
        ) from error
    return record


class ProjectSession(KedroSession):
    """A Kedro session that chooses the run of the experiment before the catalog names its files.

    Attributes:
        begins_runs: whether the pipelines of the session begin or resume a run.
        worked_on: that run.
    """

    begins_runs = False
    worked_on: Run

    def load_context(self) -> KedroContext:
        """Open the configuration, whose catalog names the files of one run."""
        context = super().load_context()
        loader = cast("UserExperimentConfigLoader", context.config_loader)
        loader.project, loader.begins_runs = context.project_path, self.begins_runs
        if self.begins_runs:
            self.worked_on = loader.run
            if get_rank() == 0:
                _log.info(self.worked_on.reason)
        return context

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Run as Kedro does."""
        self.begins_runs = bool({*(options.get("pipeline_names") or ["__default__"])} & _MAKERS)
        return super().run(*args, **options)


def flatten(settings: object) -> dict[str, str]:
    """Return nested settings as `a.b.c` → value as text, in their order; parameter models count as mappings."""
    return dict(_leaves(settings, ""))


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping | BaseModel) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, _text(value)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
