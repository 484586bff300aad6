"""Training pairs per second, against a plain loop like the university project's, on the same pixels.

    uv run python benchmarks/bench_training.py [--encoder resnet50] [--side 512] [--batch 4] [--steps 6] [--device cpu]
        [--location auto] [--precision auto] [--compile]

The plain loop decodes two PNGs of a whole scene per pair to float32, trains two separate networks without skips in
float32, and writes a TensorBoard histogram of each weight and gradient after every step: median of the steps. Ours is
the training of `kedro run`, third epoch, profiled: crops of the store, augmentation, loss, optimiser, Lightning and its
logs. Scenes are noise of xBD's size, about half again as slow to decode as real ones. Both train on `--side`; only the
plain loop decodes whole scenes.

Targets: 2.5 times on a CPU; on an H200 8 times, 3 times the same loop without histograms, and data waits below 5 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from xview2_siamese_unet.config.modelling import (
    ClassesParams,
    DataloaderParams,
    FocalLossParams,
    HardwareParams,
    LossWeightsParams,
    ModelParams,
    PredictionParams,
    Recipe,
    TrainingParams,
)
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.hardware import pick_device
from xview2_siamese_unet.models.siamese_unet import Normalise
from xview2_siamese_unet.parallel import usable_cores
from xview2_siamese_unet.raster.store import RECORD, Store, scene_record
from xview2_siamese_unet.training.data import Batch, TrainingData
from xview2_siamese_unet.training.losses import focal_loss
from xview2_siamese_unet.training.trainer import Folders, fit

MEAN = [100.0] * 3, [50.0] * 3
Step = Callable[[Batch], None]


def write_synthetic_scenes(folder: Path, n: int, size: int) -> Store:
    """Write the same scenes as PNGs and as a store."""
    random = np.random.default_rng(0)
    records = np.zeros(n, RECORD)
    with (folder / "pixels.u8").open("wb") as file:
        for row in range(n):
            coarse = random.integers(0, 256, (size // 4, size // 4, 8), np.uint8)
            pixels = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
            pixels[..., :6] += random.integers(0, 12, (size, size, 6), np.uint8)
            pixels[..., 6], pixels[..., 7] = pixels[..., 6] % 2, pixels[..., 7] % 5
            for name, channels in (("pre", pixels[..., :3]), ("post", pixels[..., 3:6])):
                Image.fromarray(channels).save(folder / f"{row}_{name}.png")
            Image.fromarray(pixels[..., 6]).save(folder / f"{row}_building.png")
            Image.fromarray(pixels[..., 7]).save(folder / f"{row}_damage.png")
            records[row] = scene_record(pixels)
            records[row]["key"] = b"made"
            file.write(pixels.tobytes())
    records.tofile(folder / "records.bin")
    manifest = {"scenes": [str(row) for row in range(n)], "height": size, "width": size}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Store(folder)


def decoded(folder: Path, n: int, batch: int, side: int) -> Iterator[Batch]:
    """Yield batches of the plain loop: whole scenes from PNGs, as floats, cropped to `--side`."""

    def read(row: int, name: str) -> Tensor:
        return torch.from_numpy(np.array(Image.open(folder / f"{row}_{name}.png")))

    row = 0
    while True:
        rows, row = [(row + i) % n for i in range(batch)], row + batch
        images = [torch.stack([read(r, name).permute(2, 0, 1).float() for r in rows]) for name in ("pre", "post")]
        masks = [torch.stack([read(r, name).long() for r in rows]) for name in ("building", "damage")]
        yield Batch(*(part[..., :side, :side].contiguous() for part in (*images, *masks)))


def plain_step(encoder: str, device: str, writer: SummaryWriter | None) -> Step:
    net = build_net(ModelParams.model_validate({"architecture": "seed", "encoder": {"name": encoder}}), 6).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    normalise, weights = Normalise(*MEAN).to(device), torch.ones(6, device=device)
    steps = 0

    def step(batch: Batch) -> None:
        nonlocal steps
        pre, post, building, damage = (part.to(device) for part in batch)
        logits = net(normalise(pre), normalise(post))
        loss = focal_loss(logits.building, building, weights[:2], 2.0) + focal_loss(logits.damage, damage, weights, 2.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if writer is not None:
            for name, weight in net.named_parameters():
                writer.add_histogram(name, weight, steps)
                if weight.grad is not None:
                    writer.add_histogram(f"{name}.grad", weight.grad, steps)
        loss.item()

    return step


def train(store: Store, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """Train three epochs, as `kedro run` does; return the history of the last."""
    crops = -(-args.steps * args.batch // (len(store) - 1))
    training = {"epochs": 3, "crop": args.side, "batch_size": args.batch, "crops_per_scene": crops}
    training |= {"losses": {"pre": {"dice": 1.0}, "post": {"dice": 0.5}}}
    recipe = Recipe(
        model=ModelParams.model_validate({"encoder": {"name": args.encoder}}),
        classes=ClassesParams(),
        training=TrainingParams.model_validate(training),
        prediction=PredictionParams(calibrate=False),
        loss_weights=LossWeightsParams(),
        focal_loss=FocalLossParams(),
        dataloader=DataloaderParams(location=args.location),
        hardware=HardwareParams(device=args.device, compile=args.compile, precision=args.precision, profile=True),
    )
    first, *others = store.scenes
    data = TrainingData(
        *("noise", store, others, [first], [1.0] * len(others)),
        class_weights={"pre": [1.0] * 2, "post": [1.0] * 5},
        channels=dict(zip(("mean", "std"), MEAN, strict=True)),
        events=["noise"],
    )
    folders = Folders(*(folder / name for name in ("tensorboard", "checkpoints", "logs")))
    return fit(data, recipe, folders, cores=usable_cores())["history"][-1]


class Way:
    """A training loop, timed step by step."""

    def __init__(self, batches: Iterator[Batch], step: Step) -> None:
        self._batches, self._step = batches, step
        self.seconds: list[float] = []
        self.waited: list[float] = []

    def take(self, device: str, *, count: bool) -> None:
        """Run one step; `count` keeps its time."""
        started = time.perf_counter()
        pixels = next(self._batches)
        loaded = time.perf_counter()
        self._step(pixels)
        if device == "cuda":
            torch.cuda.synchronize()
        if count:
            self.seconds.append(time.perf_counter() - started)
            self.waited.append(loaded - started)


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_synthetic_scenes(folder, args.scenes, args.size)
        plain = lambda: decoded(folder, args.scenes, args.batch, args.side)  # noqa: E731
        ways = {
            "plain loop": Way(plain(), plain_step(args.encoder, device, SummaryWriter(str(folder / "logs")))),
            "without histograms": Way(plain(), plain_step(args.encoder, device, None)),
        }
        what = f"{args.encoder}, {args.side}² pairs, batch {args.batch}, {args.steps} steps on {device}"
        print(f"{what} (torch {torch.__version__}, {torch.get_num_threads()} threads)")
        for turn in range(args.steps + 2):  # the first two warm up
            for way in ways.values():
                way.take(device, count=turn >= 2)
        ours = train(store, folder, args)
    rates = {name: args.batch / statistics.median(way.seconds) for name, way in ways.items()}
    for name, way in ways.items():
        print(f"  {name:20} {rates[name]:8.2f} pairs/s, waiting for data {sum(way.waited) / sum(way.seconds):6.1%}")
    print(f"  {'ours':20} {ours['pairs_per_second']:8.2f} pairs/s, waiting for data {ours['share_data']:6.1%}")
    for name in ("plain loop", "without histograms"):
        print(f"  ours against {name}: {ours['pairs_per_second'] / rates[name]:.1f} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--size", type=int, default=1024, help="of a scene")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "gpu"])
    parser.add_argument("--location", default="auto", choices=["auto", "host", "device"])
    parser.add_argument("--precision", default="auto", choices=["auto", "32-true", "bf16-mixed", "16-mixed"])
    parser.add_argument("--compile", action="store_true")
    main(parser.parse_args())
