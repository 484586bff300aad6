"""Trained models that predict probabilities: a checkpoint, or all members of a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from xview2_siamese_unet.config.modelling import ClassesParams, HardwareParams, Tta
from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.card import ONNX, SUFFIXES, Card, find_card, read_card
from xview2_siamese_unet.models.checkpoint import prediction_of, read_checkpoint
from xview2_siamese_unet.models.onnx_net import OnnxNet
from xview2_siamese_unet.models.postprocess import (
    Temperatures,
    building_probability,
    class_probabilities,
    join_heads,
    probabilities,
)
from xview2_siamese_unet.models.predictor import Predictor, predictor_of
from xview2_siamese_unet.models.tensors import ImageTensor, ProbabilityTensor

Net = Callable[[ImageTensor, ImageTensor], ProbabilityTensor]
_SMALL: Final = (96, 160)
"""Height and width of an image for a check."""
_ROUNDING: Final = 1e-3


def read_model(path: Path) -> dict[str, Any]:
    """Return a checkpoint, whatever its name, or a card, also by the name of its ONNX network; runs no code in it.

    Raises:
        CheckpointError: no such file, or neither of them; or a file that a card names cannot be used.
        ConfigError: a card with unknown keys or values.
    """
    if path.suffix in SUFFIXES:
        return read_card(path)
    return read_card(find_card(path)) if path.suffix == ONNX else read_checkpoint(path)


def check_model(content: Mapping[str, Any]) -> list[float]:
    """Load all nets of a model on the CPU and predict a small image; return the mean probabilities.

    Raises:
        CheckpointError: a net that cannot be used, or whose output holds no probabilities.
        ConfigError: the packages onnx and onnxruntime are not installed.
    """
    model = TrainedModel(content, HardwareParams(device="cpu", precision="32-true"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 3, *_SMALL), dtype=np.uint8)
    shares = model(*map(torch.from_numpy, pixels))
    # Not a number compares as different.
    if not bool(((shares >= 0).all(dim=1) & ((shares.sum(dim=1) - 1).abs() < _ROUNDING)).all()):
        raise CheckpointError(
            "The model predicts no probabilities: some are negative or not a number, or do not add up to 1.",
            hint="Correct activation and normalisation of its card.",
        )
    return [float(share) for share in shares.mean(dim=(0, 2, 3))]


def members_of(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the models of which a card is the ensemble: file → a checkpoint or a card.

    Networks for buildings alone and for damage alone are no models by themselves, and are left out.
    """
    if "card" not in content:
        return {}
    card, found = content["card"], {}
    for member in card.members:
        if not member.is_onnx:
            found[member.file] = read_model(content["folder"] / member.file)
        elif member.output not in ("building", "damage"):
            found[member.file] = {**content, "card": card.model_copy(update={"members": (member,)})}
    return found if len(found) > 1 else {}


class TrainedModel:
    """Grey values of both images → probabilities of background and the damage classes.

    Probabilities of several nets are averaged. Nets for buildings alone and nets for damage alone count as one net.

    Args:
        content: a checkpoint, or a card as `read_card` returns it.
        hardware: device and precision; ONNX networks have a precision of their own.
        tta: views whose logits each net averages; `None` for those of `content`.

    Attributes:
        device: `cuda`, or `cpu` if any net runs on it.
        classes: number of damage classes, 4, or 5 with un-classified.
        warnings: about a GPU that is not used.

    Raises:
        CheckpointError: a file that does not fit its description, or nets with different classes.
        ConfigError: the packages onnx and onnxruntime are not installed.
    """

    def __init__(self, content: Mapping[str, Any], hardware: HardwareParams, *, tta: Tta | None = None) -> None:
        views = tta or prediction_of(content).tta
        self.device, self.classes, self.warnings = "cuda", 0, list[str]()
        if "card" in content:
            self._nets = [*self._members(content["card"], content["folder"], hardware, views)]
        else:
            predict = predictor_of(content, hardware, tta=views)
            classes = ClassesParams.model_validate(content["classes"]).damage_classes - 1
            self._note("The checkpoint", predict.device, classes)
            self._nets = [as_net(predict)]

    @torch.inference_mode()
    def __call__(self, pre: ImageTensor, post: ImageTensor) -> ProbabilityTensor:
        """Return probabilities of images, 0–255; checkpoints need sides that are multiples of 32."""
        total = self._nets[0](pre, post)
        for net in self._nets[1:]:
            total = total + net(pre, post).to(total.device)
        return total / len(self._nets)

    def _members(self, card: Card, folder: Path, hardware: HardwareParams, tta: Tta) -> Iterator[Net]:
        """Yield a net for each member, and one for all those of a single head."""
        temperatures = Temperatures(**card.temperatures.model_dump())
        heads: dict[str, list[Predictor]] = {"building": [], "damage": []}
        for member in card.members:
            if not member.is_onnx:
                inner = TrainedModel(read_model(folder / member.file), hardware, tta=tta)
                self._note(member.file, inner.device, inner.classes, inner.warnings)
                yield inner
                continue
            net = OnnxNet(folder, member, hardware)
            classes = len(member.order) - 1 if member.output == "heads" else len(SCORED)
            self._note(member.file, net.device, classes, net.warnings)
            predict = Predictor(net, nn.Identity(), tta=tta, temperatures=temperatures)
            if member.output in heads:
                heads[member.output].append(predict)
            else:
                yield as_net(predict)
        if heads["building"]:
            yield _joined(heads["building"], heads["damage"])

    def _note(self, name: str, device: str, classes: int, warnings: Sequence[str] = ()) -> None:
        if self.classes not in (0, classes):
            raise CheckpointError(
                f"{name} has {classes} damage classes, and another member of the card has {self.classes}.",
                hint="Use members that were trained with the same setting of classes.unclassified.",
            )
        self.classes = classes
        self.device = "cpu" if "cpu" in (device, self.device) else device
        self.warnings += [warning for warning in warnings if warning not in self.warnings]


def as_net(predict: Predictor) -> Net:
    """Return both images → probabilities of what predicts logits."""
    return lambda pre, post: probabilities(predict(pre, post))


def _joined(building: list[Predictor], damage: list[Predictor]) -> Net:
    def net(pre: ImageTensor, post: ImageTensor) -> ProbabilityTensor:
        buildings = torch.stack([building_probability(predict(pre, post)) for predict in building])
        classes = torch.stack([class_probabilities(predict(pre, post)) for predict in damage])
        return join_heads(buildings.mean(dim=0), classes.mean(dim=0))

    return net
