"""A Kedro project with the shipped configuration, in a separate folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from kedro.framework.startup import bootstrap_project

SHIPPED = Path(__file__).parents[1] / "conf"
SMALL: Final[dict[str, Any]] = {
    "dataset": {"sample": {"size": 64, "scenes": {"tier1": 6, "tier3": 4, "hold": 3, "test": 4}}},
    "model": {
        "encoder": {"name": "tu-test_resnet", "weights": {"source": "none"}},
        "decoder_channels": [16, 8, 8, 8, 8],
    },
    "training": {"epochs": 1, "batch_size": 4, "crop": 64, "crops_per_scene": 1},
    "reporting": {"panels": {"best": 1, "median": 1, "worst": 1, "side": 64}},
}
"""Parameters of a main job that runs every branch within seconds on one core."""


def link_shipped_project(folder: Path, local: str = "") -> Path:
    """Link the configuration and bootstrap the project; `local` is the content of conf/local/parameters.yml."""
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
