"""Packages that only some features need, and that an installation may lack."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, NamedTuple


class Feature(NamedTuple):
    """An optional feature and the packages that it needs.

    Attributes:
        name: of the feature.
        modules: imported by it.
        install: command that installs them.
    """

    name: str
    modules: tuple[str, ...]
    install: str

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [module for module in self.modules if find_spec(module) is None]


TORCH: Final = Feature(
    "checkpoints, training and features other than random",
    (
        "torch",
        "torchvision",
        "lightning",
        "segmentation_models_pytorch",
        "timm",
        "tensorboard",
        "matplotlib",
    ),
    "pip uninstall xview2-assess, then pip install xview2_siamese_unet-*.whl",
)
ONNX: Final = Feature("ONNX networks", ("onnx", "onnxruntime"), "uv sync --extra onnx, or pip install onnx onnxruntime")
DASK: Final = Feature(
    "executor.kind: dask",
    ("distributed", "dask_jobqueue"),
    "uv sync --extra cluster, or pip install distributed dask-jobqueue",
)
MLFLOW: Final = Feature("mlflow in globals.yml", ("mlflow",), "uv sync --extra mlflow, or pip install mlflow-skinny")
LINEAGE: Final = Feature("kedro viz", ("kedro_viz",), TORCH.install)
FEATURES: Final = (TORCH, ONNX, DASK, MLFLOW, LINEAGE)


def feature_of(module: str) -> Feature | None:
    """Return the feature that imports a module, `None` for one that every installation has."""
    package = module.partition(".")[0]
    return next((feature for feature in FEATURES if package in feature.modules), None)
