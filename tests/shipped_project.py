"""A Kedro project of the shipped configuration in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from kedro.framework.startup import bootstrap_project

SHIPPED = Path(__file__).parents[1] / "conf"


def lay_down_shipped(folder: Path, local: str = "") -> Path:
    """Link the configuration and bootstrap the project; `local` is its parameters.yml of conf/local."""
    (folder / "conf" / "local").mkdir(parents=True)
    for layer in ("base", "users", "experiments", "logging.yml"):
        (folder / "conf" / layer).symlink_to(SHIPPED / layer)
    if local:
        (folder / "conf" / "local" / "parameters.yml").write_text(local)
    (folder / "src").mkdir()
    (folder / "pyproject.toml").write_text(
        '[tool.kedro]\npackage_name = "xview2_siamese_unet"\nproject_name = "t"\nkedro_init_version = "1.7.0"\n'
    )
    bootstrap_project(folder)
    return folder
