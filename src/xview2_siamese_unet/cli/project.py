"""Project, configuration and catalog as the commands open them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.project import settings
from kedro.utils import find_kedro_project

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol


def find_project() -> Path:
    """Return the folder of the project around the current one.

    Raises:
        ConfigError: there is none.
    """
    project: Path | None = find_kedro_project(Path.cwd())
    if project is None:
        raise ConfigError(f"{Path.cwd()} is not inside a Kedro project.", hint="Change into the project's folder.")
    return project


def conf_folder() -> Path:
    """Return the folder of the project's configuration."""
    return find_project() / str(settings.CONF_SOURCE)


def open_configuration(env: str | None) -> UserExperimentConfigLoader:
    """Return the configuration of `<user>/<experiment>`; by default of KEDRO_ENV, or else default/quickstart.

    Its catalog names the files of the newest finished run, or of the run after an `@`.
    """
    chosen, _, run = (env or os.environ.get("KEDRO_ENV") or "").partition("@")
    given = {"run": run} if run else None
    return UserExperimentConfigLoader(
        str(conf_folder()), env=chosen or None, runtime_params=given, **CONFIG_LOADER_ARGS
    )


def open_catalog(name: str) -> CatalogProtocol[Any, Any]:
    """Return the catalog of `<user>/<experiment>`, of its newest finished run or of the run after an `@`."""
    from kedro.framework.session import KedroSession  # noqa: PLC0415  slow to import

    env, _, run = name.partition("@")
    session = KedroSession.create(env=env, runtime_params={"run": run} if run else None)
    with session:
        return session.load_context().catalog


def find_path(loader: UserExperimentConfigLoader, dataset: str) -> Path:
    """Return the path of a dataset of the catalog."""
    entry: dict[str, Any] = loader["catalog"][dataset]
    return find_project() / Path(entry["filepath"])
