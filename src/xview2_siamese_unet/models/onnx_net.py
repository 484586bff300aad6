"""Networks in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

from xview2_siamese_unet import packages
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.card import Member
from xview2_siamese_unet.models.machine import is_out_of_memory, sign_of_gpu, thread_count
from xview2_siamese_unet.models.postprocess import Logits
from xview2_siamese_unet.types import AnyArray, Float32Array, ImageBands, NetOutput

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_CUDA: Final = "CUDAExecutionProvider"
_OPSET_DOMAINS: Final = ("", "ai.onnx")
_OTHER_EXPORT: Final = "Export the network again with one input and one output (n, channels, height, width)."
_SMALLEST: Final = 1e-7
"""Probabilities closer than this to 0 are raised to it before their logarithm."""
_log = logging.getLogger(__name__)


class OnnxNet:
    """An ONNX network as a net of this project: grey values of both images → logits of both heads.

    A network without one of the heads returns zeros for it. Images may have any size.

    Args:
        folder: of the card.
        member: description of the file.
        hardware: device.

    Attributes:
        device: `cuda` or `cpu`.
        warnings: about a GPU that is not used.

    Raises:
        ConfigError: the packages onnx and onnxruntime are not installed.
        CheckpointError: no ONNX file, or one whose signature does not fit the member.
    """

    def __init__(self, folder: Path, member: Member, hardware: HardwareParams) -> None:
        self.member = member
        self.warnings: list[str] = []
        self._path = folder / member.file
        self._check_signature(_parse(self._path))
        self._session = self._open(hardware)
        (source,) = self._session.get_inputs()
        self._input, self._dtype = source.name, np.float16 if source.type == "tensor(float16)" else np.float32
        self._mean, self._std = (
            np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (member.mean, member.std)
        )

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if _CUDA in self._session.get_providers() else "cpu"

    def __call__(self, pre: ImageBands, post: ImageBands) -> Logits:
        """Return float32 logits of images, 0–255.

        Raises:
            MemoryError: it does not fit into memory.
            CheckpointError: the network fails, or its output is not finite or of another shape than described.
        """
        images = {"pre": [pre], "post": [post], "pair": [pre, post]}[self.member.input]
        height, width = pre.shape[-2:]
        with np.errstate(over="ignore"):  # of float16; the output of the network is checked
            values = np.concatenate([self._normalise(self._pad(image)) for image in images], axis=1, dtype=self._dtype)
        output = self._run(values).astype(np.float32, copy=False)
        wanted = (len(values), len(self.member.order), *values.shape[-2:])
        if output.shape != wanted:
            raise CheckpointError(
                f"{self._path} returns {_shown(output.shape)} values for {_shown(values.shape)}, but its card "
                f"describes {_shown(wanted)}.",
                hint="Correct output and classes of the card, or export the network again.",
            )
        if not np.isfinite(output).all():
            raise CheckpointError(
                f"{self._path} returns values that are not finite.",
                hint="Correct scale, mean and std of its card, or use a network in float32.",
            )
        return self._logits(output[:, self.member.order, :height, :width])

    def _normalise(self, image: ImageBands) -> Float32Array:
        ordered = image[:, ::-1] if self.member.channels == "bgr" else image
        values: Float32Array = np.divide(ordered, self.member.scale, dtype=np.float32)
        values -= self._mean
        values /= self._std
        return values

    def _pad(self, image: ImageBands) -> AnyArray:
        height, width = image.shape[-2:]
        more = (-height % self.member.multiple, -width % self.member.multiple)
        mode: Any = "constant" if self.member.padding == "black" else self.member.padding
        return np.pad(image, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), mode) if any(more) else image

    def _run(self, values: AnyArray) -> AnyArray:
        try:
            (output,) = self._session.run(None, {self._input: values})
        except Exception as error:  # ONNX Runtime has a dozen classes without a common base
            if is_out_of_memory(error):
                raise MemoryError(f"cannot allocate memory for {_shown(values.shape)} values") from error
            raise CheckpointError(
                f"{self._path} fails for {values.shape[2]} × {values.shape[3]} pixels ({_first_line(error)}).",
                hint="Set multiple in its card to the number of which height and width must be multiples.",
            ) from error
        result: AnyArray = output
        return result

    def _logits(self, output: NetOutput) -> Logits:
        """Return the logits of both heads, from an output in the order of `CLASSES`."""
        kind, is_probability = self.member.output, self.member.activation == "probabilities"
        if is_probability:
            output = output.clip(_SMALLEST, 1 - _SMALLEST)
        if kind == "five":
            # The odds of any class against background; logarithms of probabilities serve as logits.
            output = np.log(output) if is_probability else output
            damage = output[:, 1:]
            building = np.logaddexp.reduce(damage, axis=1, keepdims=True) - output[:, :1]
        else:
            building, damage = (output[:, :1], output[:, 1:]) if kind != "damage" else (output[:, :0], output)
            if is_probability:
                building, damage = special.logit(building), np.log(damage)
        zeros = np.zeros_like(output[:, :1])
        heads = (head if head.shape[1] else zeros for head in (building, damage))
        return Logits(*(np.concatenate([zeros, head], axis=1) for head in heads))

    def _check_signature(self, model: ModelProto) -> None:
        _check_opset(self._path, model)
        self._check_external_data(model)
        graph = model.graph
        weights = {tensor.name for tensor in graph.initializer}
        inputs, outputs = [each for each in graph.input if each.name not in weights], graph.output
        if len(inputs) != 1 or len(outputs) != 1:
            raise CheckpointError(
                f"{self._path} has {len(inputs)} inputs and {len(outputs)} outputs, but must have one of each.",
                hint=_OTHER_EXPORT,
            )
        bands = 6 if self.member.input == "pair" else 3
        _check_channels(self._path, inputs[0], bands, f"input {self.member.input}")
        _check_channels(self._path, outputs[0], len(self.member.order), f"output {self.member.output} and its classes")
        if (kind := inputs[0].type.tensor_type.elem_type) not in (1, 10):  # TensorProto.FLOAT and FLOAT16
            raise CheckpointError(
                f"{self._path} has an input of type {kind}, not float or float16.", hint=_OTHER_EXPORT
            )

    def _check_external_data(self, model: ModelProto) -> None:
        folder = self._path.parent.resolve()
        for name in dict.fromkeys(_external_files(model)):
            if not (folder / name).resolve().is_relative_to(folder):
                raise CheckpointError(
                    f"{self._path} reads weights from {name}, which is outside of its folder.",
                    hint="Use a file from a source that you trust, with its weights inside of its folder.",
                )
            listed = Path(self.member.file).with_name(name).as_posix()
            if listed not in self.member.data:
                raise CheckpointError(
                    f"{self._path} reads weights from {name}, which its card does not list.",
                    hint=f"Add data: {{{listed}: <SHA-256>}} to the member.",
                )

    def _open(self, hardware: HardwareParams) -> Any:  # noqa: ANN401  onnxruntime has no types
        _, onnxruntime = _packages(self._path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = thread_count(), 1
        options.log_severity_level = 4  # errors are raised
        options.enable_mem_pattern = False  # which would keep memory for each size of image
        on_gpu = hardware.device == "gpu" or (hardware.device == "auto" and sign_of_gpu() is not None)
        wanted = [_CUDA, "CPUExecutionProvider"] if on_gpu else ["CPUExecutionProvider"]
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            session = onnxruntime.InferenceSession(self._path, options, providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime has a dozen classes without a common base
            raise CheckpointError(
                f"{self._path} cannot be run by ONNX Runtime {onnxruntime.__version__} ({_first_line(error)}).",
                hint="Install a newer onnxruntime, or export the network again with an older opset such as 17.",
            ) from error
        if on_gpu and _CUDA not in session.get_providers():
            self.warnings.append(
                f"{self._path.name} runs on the CPU, because ONNX Runtime cannot use the GPU: install onnxruntime-gpu "
                "and its CUDA libraries, or set hardware.device to cpu"
            )
            _log.warning(self.warnings[-1])
        return session


def _packages(path: Path) -> tuple[Any, Any]:
    """Return the modules onnx and onnxruntime, which only the extra `onnx` installs.

    Raises:
        ConfigError: one is not installed.
    """
    try:
        # Unless this is set before its import, ONNX Runtime 1.29 and newer sends names of networks to its vendor.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        return import_module("onnx"), import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path} needs the package {error.name}, which is not installed.",
            hint=f"Install both: {packages.ONNX.install}.",
        ) from error


def _parse(path: Path) -> ModelProto:
    """Return the content of a file; files of external data are not read.

    Raises:
        ConfigError: onnx or onnxruntime is not installed.
        CheckpointError: no ONNX file.
    """
    onnx, _ = _packages(path)
    try:
        model: ModelProto = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises DecodeError, of a package that nothing else here names
        raise CheckpointError(f"{path} is not an ONNX file ({type(error).__name__}).", hint="Get it again.") from error
    if not model.graph.node:
        raise CheckpointError(f"{path} is not an ONNX file: it has no graph.", hint="Get it again.")
    return model


def _check_opset(path: Path, model: ModelProto) -> None:
    highest = _packages(path)[0].defs.onnx_opset_version()
    opset = max((each.version for each in model.opset_import if each.domain in _OPSET_DOMAINS), default=0)
    if opset > highest:
        raise CheckpointError(
            f"{path} needs opset {opset}, but the installed onnx supports up to {highest}.",
            hint="Install newer versions of onnx and onnxruntime, or export the network again with opset 17.",
        )


def _check_channels(path: Path, value: ValueInfoProto, wanted: int, described: str) -> None:
    shape = value.type.tensor_type.shape.dim
    if len(shape) != 4:
        raise CheckpointError(f"{path}: {value.name} has {len(shape)} dimensions, not four.", hint=_OTHER_EXPORT)
    if shape[1].dim_value not in (0, wanted):
        raise CheckpointError(
            f"{path}: {value.name} has {shape[1].dim_value} channels, but the card describes {wanted} ({described}).",
            hint="Correct input, output and classes of the card.",
        )
    if fixed := [each.dim_value for each in (shape[0], *shape[2:]) if each.dim_value]:
        raise CheckpointError(
            f"{path}: {value.name} has a fixed size ({_shown(fixed)}).",
            hint="Export the network again with a dynamic batch, height and width.",
        )


def _external_files(message: Any) -> Iterator[str]:  # noqa: ANN401  any message of ONNX
    """Yield the files of external data of all tensors, wherever they are in a graph."""
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for each in value if hasattr(value, "__len__") else (value,):
            if each.DESCRIPTOR.name == "TensorProto" and each.data_location == 1:  # EXTERNAL
                yield from (entry.value for entry in each.external_data if entry.key == "location")
            else:
                yield from _external_files(each)


def _shown(numbers: Any) -> str:  # noqa: ANN401  any sequence of numbers
    return " × ".join(map(str, numbers))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
