"""A checkpoint as a .safetensors file: tensors that other tools can read, and the rest as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return what `write_safetensors` wrote."""
    with safe_open(path, framework="pt", device="cpu") as file:
        header = {name: json.loads(value) for name, value in file.metadata().items()}
        aliases = header["aliases"]
        state = {name: file.get_tensor(aliases.get(name, name)) for name in header["order"]}
    return {"state": state, **header["checkpoint"]}
