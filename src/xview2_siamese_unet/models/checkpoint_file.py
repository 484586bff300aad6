"""Files of checkpoints, of `torch.save` and of safetensors.

In .safetensors, everything except tensors is JSON in the header.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.checkpoint import BEST_FILE, check_checkpoint, require_file


class CheckpointFormat(NamedTuple):
    """Functions that write and read the file of a checkpoint; reading runs no code."""

    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]


def format_of(path: Path) -> CheckpointFormat:
    """Return the format that the suffix names: .safetensors, else that of `torch.save`."""
    if path.suffix == ".safetensors":
        return CheckpointFormat(write_safetensors, read_safetensors)
    return CheckpointFormat(torch.save, partial(torch.load, map_location="cpu", weights_only=True))


def write_safetensors(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; weights that two U-Nets share are written once.

    Args:
        checkpoint: tensors under `state`, and what JSON can hold.
        path: of a file that no process reads yet.
    """
    names: dict[tuple[int, tuple[int, ...]], str] = {}
    aliases: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint["state"].items():
        # An empty tensor has no address, and a view of the same memory may have another shape.
        key = (tensor.data_ptr() or id(tensor), tuple(tensor.shape))
        if key in names:
            aliases[name] = names[key]
        else:
            names[key], tensors[name] = name, tensor.contiguous()
    order = list(checkpoint["state"])
    rest = {name: value for name, value in checkpoint.items() if name != "state"}
    header = {"checkpoint": rest, "aliases": aliases, "order": order}
    save_file(tensors, path, metadata={name: json.dumps(value) for name, value in header.items()})


def read_weights(path: Path) -> Any:  # noqa: ANN401
    """Return the content of a .safetensors file or one of `torch.save`; runs no code."""
    with path.open("rb") as file:
        if file.read(9)[8:] == b"{":  # eight bytes of length, then JSON
            return read_safetensors(path)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)  # given a path, torch would look at the name


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return what `write_safetensors` wrote; of another file, its tensors by name."""
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = file.metadata() or {}
        if "checkpoint" not in metadata:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it cannot be iterated over
        header = {name: json.loads(value) for name, value in metadata.items()}
        aliases = header["aliases"]
        state = {name: file.get_tensor(aliases.get(name, name)) for name in header["order"]}
    return {"state": state, **header["checkpoint"]}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint from a file, whatever its name; nothing in it is executed.

    Raises:
        CheckpointError: no such file, or not a checkpoint of this project.
    """
    require_file(path)
    path.open("rb").close()  # raises PermissionError, for which torch raises the same as for some damaged files
    try:
        content = read_weights(path)
    except Exception as error:  # torch and safetensors raise half a dozen classes for a file that is not ours
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged, of another format, "
            "or holds Python objects, which are never loaded because they could run code.",
            hint=BEST_FILE,
        ) from error
    return check_checkpoint(content, str(path))
