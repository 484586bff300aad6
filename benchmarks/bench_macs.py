"""Multiply-adds and weights of the networks for one pair of scenes.

    uv run python benchmarks/bench_macs.py [--encoder resnet50] [--side 1024]

Counted by torch's FlopCounterMode on tensors without content; training takes about three times as many. The university
project's network (`seed`) has two encoders without skips; its decoders are cheap because they use the deepest
features only.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.models.build import build_net

NETS: dict[str, dict[str, Any]] = {
    "seed": {"architecture": "seed"},
    "shared U-Net, as shipped": {},
    "two U-Nets": {"share_weights": False},
    "fusion at all levels": {"fusion_levels": "all"},
    "without a bottleneck": {"bottleneck": None},
    "decoder at half the size": {"decoder_channels": [256, 128, 64, 32]},
    "narrow decoder": {"decoder_channels": [128, 64, 32, 16, 16]},
    "FPN": {"decoder": "fpn"},
    "Segformer's decoder": {"decoder": "segformer"},
}


def count(model: dict[str, Any], encoder: str, side: int) -> tuple[float, float, float]:
    """Return 10⁹ multiply-adds of the network and of all but its encoders, and 10⁶ weights."""
    with torch.device("meta"):
        net = build_net(ModelParams.model_validate({"encoder": {"name": encoder}} | model), 5).eval()
        image = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image, image)
    flops = {name: sum(parts.values()) for name, parts in counter.get_flop_counts().items()}
    encoders = sum(flops.get(f"{type(net).__name__}.{unet}.encoder", 0) for unet in ("pre", "post"))
    total = counter.get_total_flops()
    return total / 2e9, (total - encoders) / 2e9, sum(weight.numel() for weight in net.parameters()) / 1e6


def main(encoder: str, side: int) -> None:
    print(f"{encoder}, a pair of {side}²: 10⁹ multiply-adds, of which outside the encoder; 10⁶ weights")
    for name, model in NETS.items():
        total, outside, weights = count(model, encoder, side)
        print(f"  {name:28} {total:7.1f} {outside:7.1f} {weights:7.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--side", type=int, default=1024)
    args = parser.parse_args()
    main(args.encoder, args.side)
