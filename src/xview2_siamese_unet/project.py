"""The current project: its folder, its configuration, its sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from kedro.framework import project as framework
from kedro.framework.project import configure_project
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project
from platformdirs import user_data_path

from xview2_siamese_unet.config_loader import APP, PACKAGED, use_logging
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.runs import ProjectSession

_NAMED: Final = f'package_name = "{__package__}"'
"""Line in the pyproject.toml of this project."""


class Project(NamedTuple):
    """Folders of a project.

    Attributes:
        folder: base of relative paths in the configuration.
        conf: folder of the configuration.
    """

    folder: Path
    conf: Path


def find_project() -> Project:
    """Return the project around the current folder, else that of the code, else the configuration in the wheel.

    With the configuration in the wheel, relative paths start at the user's folder for application data.

    Raises:
        ConfigError: the user has no home folder, which that folder belongs to.
    """
    # The current folder may belong to another Kedro project.
    around: Iterator[Path | None] = (find_kedro_project(start) for start in (Path.cwd(), Path(__file__)))
    for folder in around:
        if folder is not None and _NAMED in (folder / "pyproject.toml").read_text("utf-8"):
            return Project(folder, folder / "conf")
    try:
        return Project(user_data_path(APP), PACKAGED)
    except RuntimeError as error:  # such as a numeric user id in a container
        raise ConfigError(
            "HOME is not set, and the system lists no home folder for this user.",
            hint="Set HOME to a folder, such as HOME=/tmp.",
        ) from error


def configure(project: Project) -> None:
    """Make a project the current one of Kedro, unless this package is already configured."""
    if __package__ == framework.PACKAGE_NAME:
        return
    if project.conf == PACKAGED:
        configure_project(__package__)
    else:
        bootstrap_project(project.folder)
    use_logging(project.conf.parent)


def open_session(env: str | None, runtime_params: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
    """Return a `ProjectSession` with the configuration of `<user>/<experiment>`."""
    folder, conf = find_project()
    return ProjectSession.create(folder, env=env, runtime_params=runtime_params, conf_source=str(conf))
