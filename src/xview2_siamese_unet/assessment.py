"""`assess()`, `look()`, `validate()` and `estimate()` for Python and notebooks: pipelines in a Kedro session."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from kedro.runner import SequentialRunner

from xview2_siamese_unet.config.adaptation import as_list, is_checkpoint
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.datasets.rasters import picture
from xview2_siamese_unet.errors import DataError, cause_of
from xview2_siamese_unet.inference.no_model import NONE
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.record import describe_pair
from xview2_siamese_unet.inference.reopen import ADAPTED, assessment_root, require_record
from xview2_siamese_unet.models.card import MODEL_SUFFIXES
from xview2_siamese_unet.project import configure, find_project, open_session

_RECORD: Final = "run.json"
# Loggers of Kedro that advise to resume with --from-nodes, which an assessment does not need, and repeat the error.
_ADVICE: Final = ("kedro.runner", "kedro.pipeline")
_PATHS: Final = ("pre", "post", "out", "model", "footprints", "aoi", "zones", "head")


@dataclass(frozen=True, slots=True)
class Assessment:
    """A finished assessment and the folder of its products."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """Inputs, grid, model, settings, warnings and counts."""
        record: dict[str, Any] = json.loads((self.folder / _RECORD).read_text(encoding="utf-8"))
        return record

    @property
    def products(self) -> dict[str, Path]:
        """Name → path of each file."""
        return {name: self.folder / name for name in (*self.record["products"], _RECORD)}

    @property
    def summary(self) -> pd.DataFrame:
        """Counts and shares of all buildings, of each cell and of each zone."""
        return pd.read_csv(self.folder / "summary.csv")

    def picture(self, side: int = 768) -> bytes:
        """Return the damage raster as a PNG of at most `side` pixels."""
        return picture(self.folder / "damage.tif", side)


def assess(
    pre: Path | str,
    post: Path | str,
    out: Path | str,
    *,
    env: str | None = None,
    device: str | None = None,
    **more: Any,  # noqa: ANN401
) -> Assessment:
    """Find damaged buildings in a pair of images; the same as `kedro assess PRE POST --out OUT`.

    Args:
        pre: pre-disaster image: a GeoTIFF, a VRT or a folder of GeoTIFF tiles, in any coordinate reference system;
            `none` uses the post-disaster image only.
        post: post-disaster image.
        out: folder of the products.
        env: `<user>/<experiment>`, as for `--env`, or one of its runs, `<user>/<experiment>@<run>`.
        device: `auto`, `cpu` or `gpu`.
        more: any other key of the section `inference` of the parameters: `model`, `footprints`, `zones`, `overwrite`...
            A model is a file (a checkpoint or a model card), or a run: `RUN` of the experiment, `USER/EXPERIMENT` or
            `USER/EXPERIMENT@RUN`; or `none`, with footprints.

    Raises:
        ProjectError: the images cannot be assessed; nothing has been written.
    """
    with _session({"pre": pre, "post": post, "out": out, **more}, env, device) as session, _without_advice():
        session.run(pipeline_names=["inference"], runner=SequentialRunner())
    return Assessment(Path(out).expanduser().absolute())


def adapt(
    folder: Path | str,
    labels: Path | str | Sequence[Path | str] = (),
    *,
    env: str | None = None,
    **more: Any,  # noqa: ANN401
) -> Assessment:
    """Assess the buildings of an assessment again with a head fitted on labels; the same as `kedro adapt FOLDER`.

    Args:
        folder: of the assessment, or its subfolder `adapted`; the products go to `adapted`.
        labels: files of labels.
        env: `<user>/<experiment>`.
        more: any other key of the section `adaptation` of the parameters.

    Raises:
        ProjectError: there is no assessment, its images are missing, or the labels cannot be used.
    """
    root = assessment_root(Path(folder).expanduser().absolute())
    adaptation = {"labels": [str(Path(file).expanduser().absolute()) for file in as_list(labels)], **more}
    if "features" in more:
        adaptation["features"] = [
            str(Path(name).expanduser().absolute()) if is_checkpoint(name) else name
            for name in as_list(more["features"])
        ]
    with _session({"out": root}, env, None, adaptation=adaptation) as session, _without_advice():
        session.run(pipeline_names=["adaptation"], runner=SequentialRunner())
    return Assessment(root / ADAPTED)


def look(
    pre: Path | str,
    post: Path | str,
    *,
    env: str | None = None,
    **more: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Validate the inputs of an assessment: return grid, files, shift and warnings; writes nothing.

    Args:
        pre: pre-disaster image.
        post: post-disaster image.
        env: `<user>/<experiment>`.
        more: as for `assess`.

    Raises:
        ProjectError: the images cannot be assessed.
    """
    with _session({"pre": pre, "post": post, **more}, env, None) as session:
        parameters = session.load_context().params["inference"]
        harmonised = harmonise(InferenceParams.model_validate(parameters, from_attributes=True))
    shift, footprints = harmonised.shift, harmonised.footprints
    return {
        **describe_pair(harmonised.pair),
        "registration": None if shift is None else {**asdict(shift), "reliable": shift.is_reliable},
        "footprints": None if footprints is None else len(footprints),
        "warnings": harmonised.warnings,
    }


def validate(
    folder: Path | str,
    *,
    count: int | None = None,
    zones: Path | str | None = None,
    env: str | None = None,
    **images: Path | str | None,
) -> Path:
    """Draw a validation sample of an assessment; the same as `kedro validate DIR`; return its folder.

    Args:
        folder: of an assessment, or its subfolder `adapted`.
        count: number of buildings to label; `None`: that of the parameters.
        zones: polygons, in each of which buildings are sampled.
        env: `<user>/<experiment>`.
        images: `pre` and `post`, if they have moved since the assessment.

    Raises:
        ProjectError: there is no assessment, its images are missing, or the labels are too few for the zones.
    """
    sample_folder = _sample_folder(folder)
    inference = _drop_none({"out": folder, "zones": zones, **images})
    validation = _drop_none({"folder": sample_folder, "count": count})
    with _session(inference, env, None, validation=validation) as session, _without_advice():
        session.run(
            pipeline_names=["validation"],
            node_names=["draw_sample", "write_labelling_page", "write_shapes"],
            runner=SequentialRunner(),
        )
    return sample_folder


def estimate(
    folder: Path | str, labels: Path | str, *, zones: Path | str | None = None, env: str | None = None
) -> dict[str, Any]:
    """Estimate counts and accuracy from labels of the sample; the same as `kedro estimate DIR --labels FILE`.

    Args:
        folder: of an assessment, or its subfolder `adapted`.
        labels: file with labels of the sample.
        zones: polygons to estimate counts in.
        env: `<user>/<experiment>`.

    Returns:
        The content of `estimates.json`.

    Raises:
        ProjectError: there is no sample, or none of its buildings has a label.
    """
    sample_folder = _sample_folder(folder)
    if not (sample_folder / "sample.csv").is_file():
        raise DataError(
            f"{sample_folder} holds no validation sample.", hint="Run kedro validate first, and label its page."
        )
    inference = _drop_none({"out": folder, "zones": zones})
    validation = {"folder": sample_folder, "labels": str(Path(labels).expanduser().absolute())}
    with _session(inference, env, None, validation=validation) as session, _without_advice():
        session.run(
            pipeline_names=["validation"], node_names=["estimate", "write_estimates"], runner=SequentialRunner()
        )
    numbers = (Path(folder).expanduser() / "validation" / "estimates.json").read_text(encoding="utf-8")
    estimates: dict[str, Any] = json.loads(numbers)
    return estimates


def _sample_folder(folder: Path | str) -> Path:
    """Return the folder of an assessment's validation sample, which its adapted products share."""
    folder = Path(folder).expanduser().absolute()
    root = assessment_root(folder)
    require_record(root)
    if not (folder / "buildings.gpkg").is_file():
        raise DataError(f"{folder} holds no buildings.gpkg.", hint="Name the folder of an assessment.")
    return root / "validation"


def _drop_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


@contextmanager
def _without_advice() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _ADVICE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _session(
    inference: dict[str, Any], env: str | None, device: str | None, **sections: dict[str, Any]
) -> Iterator[Any]:
    """Open a session of the project; errors that the user can correct are raised without the wrapper of Kedro."""
    configure(find_project())
    if inference.get("model"):
        inference = inference | {"model": find_model(str(inference["model"]), env)}
    chosen, _, run = (env or "").partition("@")
    params: dict[str, Any] = ({"run": run} if run else {}) | {
        name: {key: _plain(key, value) for key, value in section.items()}
        for name, section in {"inference": inference, **sections}.items()
    }
    if device is not None:
        params["hardware"] = {"device": device}
    try:
        with open_session(chosen or None, params) as session:
            yield session
    except Exception as error:
        ours = cause_of(error)
        if ours is None or ours is error:
            raise
        raise ours from error


def find_model(model: str, env: str | None = None) -> Path:
    """Return the file of a model: the named checkpoint or model card, or the best checkpoint of a run.

    Raises:
        ConfigError: no such user, experiment or run.
    """
    path = Path(model)
    if path == NONE or path.suffix in MODEL_SUFFIXES or path.expanduser().exists():
        return path
    return _checkpoint_of(env, model)


def _checkpoint_of(env: str | None, model: str) -> Path:
    """Return the checkpoint of a run: `RUN` of this experiment, `USER/EXPERIMENT` or `USER/EXPERIMENT@RUN`.

    Raises:
        ConfigError: no such user, experiment or run.
    """
    configure(find_project())
    other, at, run = model.partition("@") if "/" in model else ("", "@", model)
    with open_session(other or env, {"run": run} if at else None) as session:
        context = session.load_context()
        return Path(context.project_path / context.config_loader["catalog"]["checkpoint"]["filepath"])


def _plain(key: str, value: Any) -> Any:  # noqa: ANN401
    """Return a value as in YAML; relative paths start at the caller's folder."""
    if Path(str(value)) == NONE and key in ("pre", "model"):
        return str(NONE)
    if key in _PATHS and value is not None:
        return str(Path(value).expanduser().absolute())
    if key == "masks":
        return [_plain("aoi", mask) for mask in as_list(value)]
    return list(value) if isinstance(value, tuple) else value
