"""Trained models that predict probabilities: a checkpoint, or all members of a card."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, Final

import numpy as np

from xview2_siamese_unet.config.modelling import ClassesParams, HardwareParams, Tta
from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.card import ONNX, SUFFIXES, Card, find_card, read_card
from xview2_siamese_unet.models.checkpoint import require_file
from xview2_siamese_unet.models.onnx_net import OnnxNet
from xview2_siamese_unet.models.postprocess import (
    PixelProbabilities,
    Temperatures,
    building_probability,
    class_probabilities,
    divided,
    join_heads,
    logits_of,
    prediction_of,
    probabilities,
    to_numpy,
)
from xview2_siamese_unet.models.tta import LogitNet, mean_logits
from xview2_siamese_unet.types import ImageBands, NetOutput

Net = Callable[[ImageBands, ImageBands], PixelProbabilities]
"""Grey values of both images → probabilities of background and the damage classes."""
_SMALL: Final = (96, 160)
"""Height and width of an image for a check."""
_ROUNDING: Final = 1e-3


def read_model(path: Path) -> dict[str, Any]:
    """Return a checkpoint, or a card, also by the name of its ONNX network; runs no code in it.

    Raises:
        CheckpointError: no such file, neither of the two, or a card with a file that cannot be used.
        ConfigError: a card with unknown keys or values.
    """
    if path.suffix in SUFFIXES:
        return read_card(path)
    if path.suffix == ONNX:
        return read_card(find_card(path))
    require_file(path)  # report a wrong path before torch is imported, which may be missing
    checkpoint: dict[str, Any] = _torch_modules()[0].read_checkpoint(path)
    return checkpoint


def check_model(content: Mapping[str, Any]) -> list[float]:
    """Load all nets of a model on the CPU and predict a small image; return the mean probabilities.

    Raises:
        CheckpointError: a net that cannot be used, or whose output holds no probabilities.
        ConfigError: the packages onnx and onnxruntime are not installed.
    """
    model = TrainedModel(content, HardwareParams(device="cpu", precision="32-true"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 3, *_SMALL), dtype=np.uint8)
    shares = to_numpy(model(*pixels))
    # NaN fails both comparisons.
    if not ((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < _ROUNDING)).all():
        raise CheckpointError(
            "The model predicts no probabilities: some are negative or not a number, or do not add up to 1.",
            hint="Correct activation and normalisation of its card.",
        )
    return [float(share) for share in shares.mean(axis=(0, 2, 3))]


def members_of(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the models in the ensemble of a card: file → a checkpoint or a card.

    Networks for buildings alone and for damage alone are not complete models, and are left out.
    """
    if "card" not in content:
        return {}
    card, models = content["card"], {}
    for member in card.members:
        if not member.is_onnx:
            models[member.file] = read_model(content["folder"] / member.file)
        elif member.output not in ("building", "damage"):
            models[member.file] = {**content, "card": card.model_copy(update={"members": (member,)})}
    return models if len(models) > 1 else {}


class TrainedModel:
    """Grey values of both images → probabilities of background and the damage classes.

    Probabilities of several nets are averaged. Nets for buildings alone and nets for damage alone count as one net.

    Args:
        content: a checkpoint, or a card as `read_card` returns it.
        hardware: device and precision; ONNX networks have a fixed precision.
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
        self._temperatures = Temperatures()
        if "card" in content:
            self._temperatures = Temperatures(**content["ensemble_temperatures"])
            self._nets = [*self._members(content["card"], content["folder"], hardware, views)]
        else:
            net, device, warnings = _torch_modules()[1].net_of(content, hardware, tta=views)
            classes = ClassesParams.model_validate(content["classes"]).damage_classes - 1
            self._note("The checkpoint", device, classes, warnings)
            self._nets = [net]

    def __call__(self, pre: ImageBands, post: ImageBands) -> PixelProbabilities:
        """Return probabilities of images, 0–255: of a checkpoint as a tensor on its device, of a card as an array.

        Checkpoints need sides that are multiples of 32.
        """
        mean = reduce(operator.add, (net(pre, post) for net in self._nets)) / len(self._nets)
        if self._temperatures == Temperatures():
            return mean
        return probabilities(divided(logits_of(mean), self._temperatures))

    def _members(self, card: Card, folder: Path, hardware: HardwareParams, tta: Tta) -> Iterator[Net]:
        """Yield a net for each member, and one for all those of a single head."""
        temperatures = Temperatures(**card.temperatures.model_dump())
        heads: dict[str, list[LogitNet]] = {"building": [], "damage": []}
        for member in card.members:
            if not member.is_onnx:
                inner = TrainedModel(read_model(folder / member.file), hardware, tta=tta)
                self._note(member.file, inner.device, inner.classes, inner.warnings)
                yield partial(_as_array, inner)
                continue
            net = OnnxNet(folder, member, hardware)
            classes = len(member.order) - 1 if member.output == "heads" else len(SCORED)
            self._note(member.file, net.device, classes, net.warnings)
            predict = partial(mean_logits, net, tta=tta, temperatures=temperatures)
            if member.output in heads:
                heads[member.output].append(predict)
            else:
                yield as_net(predict)
        if heads["building"]:
            yield _joined(heads["building"], heads["damage"])

    def _note(self, name: str, device: str, classes: int, warnings: Sequence[str] = ()) -> None:
        if self.classes not in (0, classes):
            raise CheckpointError(
                f"{name} has {classes} damage classes, but another member of the card has {self.classes}.",
                hint="Use members that were trained with the same setting of classes.unclassified.",
            )
        self.classes = classes
        self.device = "cpu" if "cpu" in (device, self.device) else device
        self.warnings += [warning for warning in warnings if warning not in self.warnings]


def as_net(predict: LogitNet) -> Net:
    """Return a net that predicts probabilities, from one that predicts logits."""
    return lambda pre, post: probabilities(predict(pre, post))


def _as_array(net: Net, pre: ImageBands, post: ImageBands) -> NetOutput:
    return to_numpy(net(pre, post))


def _joined(building: list[LogitNet], damage: list[LogitNet]) -> Net:
    def net(pre: ImageBands, post: ImageBands) -> NetOutput:
        buildings = np.stack([building_probability(predict(pre, post)) for predict in building])
        classes = np.stack([class_probabilities(predict(pre, post)) for predict in damage])
        joined: NetOutput = join_heads(buildings.mean(axis=0), classes.mean(axis=0))
        return joined

    return net


def _torch_modules() -> tuple[Any, Any]:
    """Return the modules that read a checkpoint and predict with it."""
    # torch is slow to import, and not in every installation
    from xview2_siamese_unet.models import checkpoint_file, predictor  # noqa: PLC0415

    return checkpoint_file, predictor
