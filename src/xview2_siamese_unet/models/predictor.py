"""Prediction with trained nets: restored, normalised, with augmented views."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from timm.layers.norm_act import BatchNormAct2d
from timm.models._efficientnet_blocks import ConvBnAct, DepthwiseSeparableConv, EdgeResidual, InvertedResidual
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xview2_siamese_unet.config.modelling import ClassesParams, HardwareParams, ModelParams, Tta
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.build import DamageNet, build_net
from xview2_siamese_unet.models.hardware import autocast_dtype, device_warnings, pick_device
from xview2_siamese_unet.models.postprocess import Logits, Temperatures, prediction_of, probabilities
from xview2_siamese_unet.models.siamese_unet import Normalise, SiameseUNet
from xview2_siamese_unet.models.tensors import ImageTensor, ProbabilityTensor
from xview2_siamese_unet.models.tta import mean_logits
from xview2_siamese_unet.types import ImageBands

_IN_ORDER: Final = (
    nn.Sequential,
    EfficientNetFeatures,
    ConvBnAct,
    DepthwiseSeparableConv,
    EdgeResidual,
    InvertedResidual,
)
"""Modules that apply each batch norm to the output of the convolution registered before it."""
_NORMS: Final = (nn.BatchNorm2d, BatchNormAct2d)
_log = logging.getLogger(__name__)


class Predictor:
    """Grey values of both images → logits, the same for tuning, scoring and assessing.

    Args:
        net: it is moved to the device.
        normalise: grey values → input of the net.
        device: `cuda` or `cpu`.
        dtype: of autocast; `None` for float32.
        tta: views whose logits are averaged.
        temperatures: by which the averaged logits are divided.
    """

    def __init__(
        self,
        net: nn.Module,
        normalise: nn.Module,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        tta: Tta = "none",
        temperatures: Temperatures = Temperatures(),  # noqa: B008  a tuple never changes
    ) -> None:
        self.device = device
        self.temperatures = temperatures
        self._net = net.to(device).eval()
        self._normalise = normalise.to(device)
        self._dtype = dtype
        self._tta = tta

    @torch.inference_mode()
    def __call__(self, pre: ImageTensor, post: ImageTensor) -> Logits:
        """Return float32 logits of images, 0–255, sides multiples of 32."""
        with torch.autocast(self.device, self._dtype, enabled=self._dtype is not None):
            before, after = (self._normalise(image.to(self.device).float()) for image in (pre, post))
            return mean_logits(self._logits, before, after, self._tta, self.temperatures)

    def _logits(self, pre: ImageTensor, post: ImageTensor) -> Logits:
        return Logits(*(head.float() for head in self._net(pre, post)))


def predictor_of(checkpoint: Mapping[str, Any], hardware: HardwareParams, *, tta: Tta | None = None) -> Predictor:
    """Return the predictor of a checkpoint.

    Args:
        checkpoint: of a trained net.
        hardware: device and precision.
        tta: views whose logits are averaged; `None` for those of the checkpoint.

    Raises:
        CheckpointError: a part is missing, or the weights do not fit the net that the file describes.
    """
    device = pick_device(hardware.device)
    net, normalise, _ = restore(checkpoint)
    if isinstance(net, SiameseUNet):
        # Windows are large: on a CPU, a batch of two takes more memory and no less time.
        net.in_one_pass = device != "cpu"
    return Predictor(
        fuse_batch_norm(net.eval()).to(memory_format=torch.channels_last),
        normalise,
        device=device,
        dtype=autocast_dtype(hardware, device),
        tta=tta or prediction_of(checkpoint).tta,
        temperatures=Temperatures(**checkpoint.get("temperatures", {})),
    )


def net_of(
    checkpoint: Mapping[str, Any], hardware: HardwareParams, *, tta: Tta | None = None
) -> tuple[Callable[[ImageBands, ImageBands], ProbabilityTensor], str, list[str]]:
    """Return the net of a checkpoint, grey values of both images → probabilities; its device; warnings about it."""
    predict = predictor_of(checkpoint, hardware, tta=tta)

    def net(pre: ImageBands, post: ImageBands) -> ProbabilityTensor:
        shares: ProbabilityTensor = probabilities(predict(torch.from_numpy(pre), torch.from_numpy(post)))
        return shares

    return net, predict.device, device_warnings(hardware.device)


def restore(checkpoint: Mapping[str, Any]) -> tuple[DamageNet, Normalise, ClassesParams]:
    """Return the net with its weights, its normalisation, and its classes.

    Raises:
        CheckpointError: a part is missing, or the weights do not fit the net that the file describes.
    """
    try:
        classes = ClassesParams.model_validate(checkpoint["classes"])
        # A checkpoint without the key is older than the bottleneck.
        model = ModelParams.model_validate({"bottleneck": None, **checkpoint["model"]})
        net = build_net(model, classes.damage_classes)
        net.load_state_dict(checkpoint["state"])
        normalise = Normalise(**checkpoint["channels"])
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint does not fit the net that it describes ({str(error).splitlines()[0]}).",
            hint="Train it with kedro run --pipelines modelling of this version and the same environment.",
        ) from error
    return net, normalise, classes


def fuse_batch_norm(net: DamageNet) -> DamageNet:
    """Fuse batch norms of a net in evaluation mode into the convolutions before them; return the same net."""
    for unet in dict.fromkeys((net.pre, net.post)):
        unet.encoder = fuse_encoder(unet.encoder)
    _fuse_layers(net)
    return net


def fuse_encoder(encoder: nn.Module) -> nn.Module:
    """Return an encoder in evaluation mode with its batch norms fused into the convolutions before them."""
    try:
        # Not a decoder: its skip connections may be missing, so a trace could differ from the code.
        encoder = fuse(encoder)
    except (TraceError, NameError, RuntimeError, TypeError) as error:
        # Code that depends on values or lengths, or keeps modules in lists, cannot be traced.
        _log.debug("an encoder cannot be traced, so that not all of its batch norms are fused: %s", error)
    _fuse_layers(encoder)
    return encoder


def _fuse_layers(net: nn.Module) -> None:
    for layers in [part for part in net.modules() if isinstance(part, _IN_ORDER)]:
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise([*layers.named_children()]):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and type(norm) in _NORMS:
                setattr(layers, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(layers, norm_name, getattr(norm, "act", nn.Identity()))
