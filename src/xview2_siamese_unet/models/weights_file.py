"""Files of weights: a checkpoint as .safetensors, with what is no tensor as JSON in the header, and reading of any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_safetensors(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; weights that two U-Nets share are written once.

    Args:
        checkpoint: tensors under `state`, everything else what JSON can say.
        path: of the file, which must not be read by anybody yet.
    """
    names: dict[tuple[int, tuple[int, ...]], str] = {}
    aliases: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint["state"].items():
        # An empty tensor has no address, and a view of the same place may have another shape.
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
    """Return what a .safetensors file or one of `torch.save` holds, whatever its name; nothing in it is executed."""
    with path.open("rb") as file:
        if file.read(9)[8:] == b"{":  # eight bytes of length, then JSON
            return read_safetensors(path)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)  # of a path torch would look at the name


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return what `write_safetensors` wrote; of a file of others the tensors by name."""
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = file.metadata() or {}
        if "checkpoint" not in metadata:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it cannot be iterated over
        header = {name: json.loads(value) for name, value in metadata.items()}
        aliases = header["aliases"]
        state = {name: file.get_tensor(aliases.get(name, name)) for name in header["order"]}
    return {"state": state, **header["checkpoint"]}
