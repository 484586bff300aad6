"""Packages that only some features need, and that an installation may lack."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, NamedTuple

_FULL: Final = "pip uninstall xview2-assess, then pip install xview2_siamese_unet-*.whl"
_ONNX: Final = "pip install onnx onnxruntime"


class Feature(NamedTuple):
    """A feature, what it imports, and the command that installs it."""

    name: str
    modules: tuple[str, ...]
    install: str

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [module for module in self.modules if find_spec(module) is None]


FEATURES: Final = (
    Feature("checkpoints", ("torch", "segmentation_models_pytorch", "timm"), _FULL),
    Feature("training and its report", ("lightning", "matplotlib", "tensorboard", "torchvision"), _FULL),
    Feature("adapting", ("sklearn", "torch", "timm"), _FULL),
    Feature("lineage", ("kedro_viz",), _FULL),
    Feature("ONNX networks", ("onnx", "onnxruntime"), _ONNX),
    Feature("Dask", ("distributed",), "pip install distributed"),
    Feature("Dask on Slurm", ("dask_jobqueue",), "pip install dask-jobqueue"),
)


def feature_of(module: str) -> Feature | None:
    """Return the first feature that imports a module, `None` for one that every installation has."""
    package = module.partition(".")[0]
    return next((feature for feature in FEATURES if package in feature.modules), None)
