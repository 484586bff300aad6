"""User, experiment, storage and executor: values of `${globals:...}`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from xview2_siamese_unet.config.dataset import SourceKind
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.config.validation import PathPart, Strict
from xview2_siamese_unet.errors import ConfigError


def _local(folder: object) -> object:
    # `Path` would turn a URL into the folder `s3:/bucket` without an error, and Kedro would create a folder named `~`.
    if isinstance(folder, str) and "://" in folder:
        raise ValueError("must be a folder of this machine or its cluster, not a URL")
    return folder


def _without_password(uri: str) -> str:
    # Not a ValueError, whose message would quote the password.
    if "://" in uri and ("@" in uri or "?" in uri):
        raise ConfigError(
            "mlflow in globals.yml must be an address without user, password and query.",
            hint="Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
        )
    return uri


class DatasetGlobals(Strict):
    """Keys of the dataset that the catalog uses."""

    name: PathPart = "sample"
    """Name of the folders for what is made from these scenes."""
    source: SourceKind = "sample"
    """The built-in sample, a download of xBD, or the scenes of the catalog entry `download`."""
    root: Annotated[Path, BeforeValidator(_local), AfterValidator(Path.expanduser)] | None = None
    """Folder that holds tier1, tier3, hold and test, only for `source: xbd`; a relative path starts at the project
    folder."""


class FolderNames(Strict):
    """Names of folders and files of a run."""

    tensorboard_logs: PathPart = "tensorboard_logs"
    """Folder of the TensorBoard logs."""
    checkpoints: PathPart = "checkpoints"
    """Folder of the checkpoints."""
    logfiles: PathPart = "logfiles"
    """Folder of history and log of the training."""
    class_counts_file: PathPart = "class_counts.json"
    """Pixels of each class in the training split."""
    sample_weights_file: PathPart = "sample_weights.pth"
    """Sampling weight of each training scene."""


class Globals(Strict):
    """Values of `${globals:...}`.

    `user` and `experiment` come from `--env` unless a file sets them.
    """

    user: PathPart
    """Name of the user."""
    experiment: PathPart
    """Name of the experiment, of its folder and of its checkpoints."""
    group: PathPart = Field(default_factory=lambda known: known["user"])
    """Folder of the experiments of one person or team; by default the user."""
    default_experiment: PathPart = "quickstart"
    """Experiment of `--env <user>`."""
    storage: Annotated[Path, BeforeValidator(_local), AfterValidator(Path.expanduser)] = Path("data")
    """Root of the layers 01_raw to 08_reporting; a relative path starts at the project folder."""
    keep: int | None = Field(default=None, ge=1)
    """Finished runs of an experiment that are kept; a training that ends removes older ones. `null`: all."""
    mlflow: Annotated[str, Field(min_length=1), AfterValidator(_without_password)] | None = None
    """MLflow store that runs are logged to when they end: address of a server, or a folder; a relative path starts at
    the project folder. `null`: nothing is logged, and MLflow is not imported."""
    dataset: DatasetGlobals = DatasetGlobals()
    executor: ExecutorParams = ExecutorParams()
    foldernames: FolderNames = FolderNames()
