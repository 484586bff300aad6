"""Time of an epoch outside the net: averaged weights of a ResNet50 net, and validation of whole scenes; one core.

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_epoch.py [SCENES]      default: 40

Averaged weights: Lightning's own callback averages one tensor after the other, this project all of them together.
Validation: the other way computes the most likely class with `argmax` along the channels, counts confusion in numpy,
scene by scene, and draws no picture. Both start from the same logits, compute the same losses and must count the same.
"""

from __future__ import annotations

import sys
import time
from functools import reduce

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from xview2_siamese_unet.config.modelling import DamageLossMix, LossMix, ModelParams
from xview2_siamese_unet.metrics.confusion import N_JOINT, Counts, count_scene, joint_codes
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.postprocess import Logits, decide, probabilities
from xview2_siamese_unet.training.averaging import MovingAverage
from xview2_siamese_unet.training.data import unpack_batch
from xview2_siamese_unet.training.logging import Panels
from xview2_siamese_unet.training.losses import mix_losses

SIDE = 1024
STEPS = 10


def draw_scene(seed: int) -> tuple[Tensor, Logits]:
    """Return a scene with blocks of every class, and logits that are right about half of it."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 255, (1, SIDE, SIDE, 8), np.uint8)
    codes = np.kron(random.choice(6, (64, 64), p=(0.9, 0.06, 0.01, 0.01, 0.01, 0.01)), np.ones((16, 16))).astype(
        np.uint8
    )
    pixels[0, ..., 6], pixels[0, ..., 7] = codes > 0, codes
    noise = torch.Generator().manual_seed(seed)
    logits = Logits(*(torch.randn(1, k, SIDE, SIDE, generator=noise) for k in (2, 5)))
    return torch.from_numpy(pixels), logits


def losses(pixels: Tensor, logits: Logits) -> Tensor:
    batch, alpha = unpack_batch(pixels, "ignore"), torch.ones(5)
    heads = ((logits.building, batch.building, LossMix()), (logits.damage, batch.damage, DamageLossMix()))
    return reduce(torch.add, (mix_losses(*head, alpha=alpha[: len(head[0][0])], gamma=2.0) for head in heads))


def other_way(pixels: Tensor, logits: Logits) -> Counts:
    losses(pixels, logits)
    shares = probabilities(logits)
    building, damage = 1 - shares[:, 0], shares[:, 1:].argmax(dim=1) + 1
    predicted = (damage * (building > 0.5)).to(torch.uint8).numpy()[0]
    scene = pixels.numpy()[0]
    int(np.isin(scene[..., 7], (2, 3, 4)).sum())
    return count_scene(scene[..., 6], scene[..., 7], predicted, scene="made")


def ours(pixels: Tensor, logits: Logits) -> Counts:
    losses(pixels, logits)
    predicted = decide(probabilities(logits))
    joint = joint_codes((predicted > 0).to(torch.uint8), pixels[..., 6], pixels[..., 7], predicted)
    counts = torch.bincount(joint.flatten(), minlength=N_JOINT)
    panels.offer(pixels, predicted)
    return Counts.from_joint(counts.numpy())


@torch.inference_mode()
def main(scenes: int) -> None:
    module = lightning.LightningModule()
    module.net = build_net(ModelParams.model_validate({"encoder": {"name": "resnet50"}}), 5)
    averages = {"Lightning's callback": EMAWeightAveraging(decay=0.999), "ours": MovingAverage(0.999, "cpu")}
    took: dict[str, list[float]] = {name: [] for name in averages}
    for callback in averages.values():
        callback.setup(None, module, "fit")
        callback._average_model.update_parameters(module)
    for _ in range(STEPS):
        for name, callback in averages.items():
            started = time.perf_counter()
            callback._average_model.update_parameters(module)
            took[name].append(time.perf_counter() - started)
    report("averaged weights, ms a step", took)
    took = {"the other way": [], "ours": []}
    for seed in range(scenes):
        scene, counts = draw_scene(seed), []
        for name, way in zip(took, (other_way, ours), strict=True):
            started = time.perf_counter()
            counts.append(way(*scene).row())
            took[name].append(time.perf_counter() - started)
        assert np.array_equal(*counts)
    report(f"validation outside the net, ms a scene of {SIDE}², {scenes} scenes", took)


def report(what: str, took: dict[str, list[float]]) -> None:
    print(what)
    for name, each in took.items():
        print(f"  {name:22} {np.median(each) * 1e3:8.1f}")
    first, second = (float(np.median(each)) for each in took.values())
    print(f"  ratio {first / second:.1f}")


panels = Panels()

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
