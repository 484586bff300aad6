"""Export of a trained net as an ONNX network, with the card that `kedro assess --model` reads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from xview2_siamese_unet import packages
from xview2_siamese_unet.atomic import sha256, whole_file, write_atomically
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.card import CLASSES, ONNX, SUFFIXES, Card, Member, write_card
from xview2_siamese_unet.models.checkpoint_file import write_safetensors
from xview2_siamese_unet.models.onnx_net import OnnxNet
from xview2_siamese_unet.models.postprocess import probabilities, to_numpy
from xview2_siamese_unet.models.predictor import Predictor, fuse_batch_norm, restore
from xview2_siamese_unet.models.siamese_unet import Normalise
from xview2_siamese_unet.models.tensors import ClassLogits, PairTensor

_OPSET: Final = 17
_TRACED: Final = (1, 64, 96)
_COMPARED: Final = ((1, 96, 160), (2, 50, 70))
"""Batch, height and width with which the exported network is compared to the net."""
_LARGEST_ERROR: Final = 1e-4
_CPU: Final = HardwareParams(device="cpu", precision="32-true")


class Heads(nn.Module):
    """A net and its normalisation: grey values of both images → a building logit and those of the damage classes."""

    def __init__(self, net: nn.Module, normalise: Normalise) -> None:
        super().__init__()
        self.net = net
        self.normalise = normalise

    def forward(self, images: PairTensor) -> ClassLogits:
        """Return the difference of both building logits, and the damage logits without background."""
        building, damage = self.net(self.normalise(images[:, :3]), self.normalise(images[:, 3:]))
        return torch.cat([building[:, 1:] - building[:, :1], damage[:, 1:]], dim=1)


def export_onnx(checkpoint: Mapping[str, Any], path: Path) -> Member:
    """Write a net as an ONNX network with dynamic batch, height and width; return its description.

    Args:
        checkpoint: of a trained net.
        path: of the file.

    Raises:
        ConfigError: the packages onnx and onnxruntime are not installed.
        CheckpointError: the net cannot be exported, or the exported network gives other results.
    """
    net, normalise, classes = restore(checkpoint)
    if any(isinstance(each, nn.AdaptiveAvgPool2d) and each.output_size not in (1, (1, 1)) for each in net.modules()):
        raise CheckpointError(
            "The net cannot be exported to ONNX: its decoder pools images of any size to a grid, for which ONNX has no "
            "operator.",
            hint="Export it with --format bundle.",
        )
    heads = Heads(fuse_batch_norm(net.eval()), normalise).eval()
    with whole_file(path) as part:
        try:
            _trace(heads, part)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"An export needs the package {error.name}, which is not installed.",
                hint=f"Install both: {packages.ONNX.install}.",
            ) from error
        except Exception as error:  # torch raises one of a dozen classes for what it cannot export
            raise CheckpointError(
                f"The net cannot be exported to ONNX ({type(error).__name__}: {str(error).strip().splitlines()[0]}).",
                hint="Export it with --format bundle, or train another encoder or decoder.",
            ) from error
        extra = [Damage.UNCLASSIFIED.word] if classes.damage_classes - 1 > len(CLASSES["damage"]) else []
        member = Member(
            file=path.name,
            sha256=sha256(part),
            output="heads",
            classes=(*CLASSES["heads"], *extra) if extra else (),
            multiple=getattr(net.pre, "multiple", 1),  # the net of the university project resizes its images
            padding="black",
        )
        _compare(Predictor(net, normalise), OnnxNet(part.parent, member, _CPU))
    return member


def _trace(heads: Heads, path: Path) -> None:
    batch, height, width = _TRACED
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constants in the trace; `_compare` would reveal their effect
        # The newer exporter needs another package, onnxscript.
        torch.onnx.export(
            heads,
            (torch.zeros(batch, 6, height, width),),
            path,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": axes, "logits": axes},
        )


def _compare(net: Predictor, exported: OnnxNet) -> None:
    """Require that both give the same probabilities for other sizes than the traced one."""
    random = np.random.default_rng(0)
    for batch, height, width in _COMPARED:
        images = random.integers(0, 256, (2, batch, 3, height, width), dtype=np.uint8)
        one, other = probabilities(net(*torch.from_numpy(images))), probabilities(exported(*images))
        error = float(np.abs(to_numpy(one) - other).max())
        if error > _LARGEST_ERROR:
            raise CheckpointError(
                f"The exported network differs from the net by {error:.2g} for {height} × {width} pixels.",
                hint="Export it with --format bundle: its encoder or decoder depends on the size of the image.",
            )


def write_model(name: str, checkpoint: Mapping[str, Any], metrics: Mapping[str, Any] | None, path: Path) -> Path:
    """Write a net and its card.

    Args:
        name: of the model.
        checkpoint: of a trained net.
        metrics: of its report, if there is one.
        path: of the net: an ONNX network, or a .safetensors checkpoint.

    Returns:
        The card next to it, of the same name.

    Raises:
        CheckpointError: the net cannot be exported.
        ConfigError: the packages onnx and onnxruntime are not installed, or one of the files exists.
    """
    card = path.with_suffix(SUFFIXES[0])
    if exists := next((file for file in (path, card) if file.exists()), None):
        raise ConfigError(f"{exists} already exists.", hint="Choose another folder with --out, or remove the file.")
    if path.suffix == ONNX:
        member = export_onnx(checkpoint, path)
    else:
        with whole_file(path) as part:
            write_safetensors(checkpoint, part)
            member = Member(file=path.name, sha256=sha256(part))
    write_atomically(card, write_card(card_of(name, checkpoint, metrics, member)))
    return card


def card_of(name: str, checkpoint: Mapping[str, Any], metrics: Mapping[str, Any] | None, member: Member) -> Card:
    """Return the card of a checkpoint.

    Args:
        name: of the model.
        checkpoint: of a trained net.
        metrics: of its report, if there is one; else the scores are those of the validation scenes.
        member: its file.
    """
    model, pretrained = checkpoint["model"], checkpoint.get("pretrained") or {}
    known = {key: checkpoint[key] for key in ("dataset", "events", "version", "commit") if checkpoint.get(key)}
    # A checkpoint contains its temperatures.
    tuned = ("thresholds", "prediction", *(("temperatures",) if member.is_onnx else ()))
    architecture = [str(model.get("architecture", "siamese_unet")), str(model.get("encoder", {}).get("name", ""))]
    return Card.model_validate(
        {
            "name": name,
            "licence": checkpoint.get("licence") or "not stated",
            "origin": f"xview2-siamese-unet, fingerprint {checkpoint.get('fingerprint', 'unknown')}",
            "members": [member],
            **{key: checkpoint[key] for key in tuned if checkpoint.get(key)},
            **known,
            "channels": checkpoint["channels"],
            **_scores(checkpoint, metrics),
            "architecture": " ".join(filter(None, architecture)),
            "framework": "ONNX" if member.is_onnx else "PyTorch",
            "total_parameters": sum(weight.numel() for weight in restore(checkpoint)[0].parameters()),
            "pretrained_source": pretrained.get("name", ""),
        }
    )


def _scores(checkpoint: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    if metrics is None:
        scores = checkpoint.get("scores") or {}
        return {"scores": scores, "scored_on": "validation scenes" if scores else ""}
    intervals = metrics["intervals"]
    splits = ", ".join(f"{scenes} scenes of split {split}" for split, scenes in metrics.get("splits", {}).items())
    return {"scores": {key: metrics[key] for key in intervals}, "intervals": intervals, "scored_on": splits}
