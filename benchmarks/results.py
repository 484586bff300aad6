"""Ablation of the recipe `strong`: named variants and seeds, trained and scored by Kedro, as a Markdown table.

    uv run python benchmarks/results.py OUT [--xbd ROOT] [--encoder resnet50] [--weights hub] [--epochs 30] [--dry-run]

Variants: the university project's settings (seed_002), the recipe (strong), and the recipe with one component removed
or replaced. With `--xbd`, networks train on tier1 and tier3, validate on hold and are scored on test; without it, they
use the built-in sample. Every run is an experiment below OUT/conf. Finished runs are reused, and variants that differ
only in `prediction` share their weights. The defaults are small enough for a CPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
USER = "results"
SCORES = {"score": "score", "localization_f1": "localisation F1", "damage_f1": "damage F1"}
Tree = dict[str, Any]
SPLIT: Tree = {"train": {"tier1": 1.0, "tier3": 1.0}, "validation": {"hold": 1.0, "tier3": 0.0}}

WITHOUT: dict[str, Tree] = {
    "localisation first": {"training": {"localization_epochs": 0}},
    "averaged weights": {"training": {"ema_decay": None}},
    "dilated damage": {"training": {"damage_dilation": 1}},
    "crops of rare classes": {"training": {"crop_candidates": 1}},
    "weighted sampler": {"training": {"sampler": "uniform"}},
    "warm-up": {"training": {"warmup_epochs": 0.0}},
    "dice": {"training": {"losses": {"pre": {"dice": 0.0}, "post": {"dice": 0.0}}}},
    "turns, scales, shifts": {"training": {"augmentation": {"rotate": 0.0, "scale": 0.0, "shift": 0.0}}},
    "shift of post alone": {"training": {"augmentation": {"post_shift": 0.0}}},
    "test-time augmentation": {"prediction": {"tta": "none"}},
    "vote per building": {"prediction": {"vote": "none"}},
    "tuned thresholds": {"prediction": {"tune": False}},
}
"""Removed component → parameters that differ from the recipe."""


def replacements(args: argparse.Namespace) -> dict[str, Tree]:
    """Return replaced component → parameters that differ from the recipe."""
    return {
        "a decoder at half the size": {"model": {"decoder_channels": args.decoder[:-1]}},
        "two nets": {"model": {"share_weights": False}},
        "dates joined at all levels": {"model": {"fusion_levels": "all"}},
    }


def merged(under: Tree, over: Tree) -> Tree:
    both = deepcopy(under)
    for key, value in over.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


def variants(args: argparse.Namespace) -> dict[str, Tree]:
    """Return name → parameters; sizes are those of the command line."""
    shipped = {
        name: yaml.safe_load((PROJECT / "conf" / "experiments" / name / "parameters.yml").read_text())
        for name in ("seed_002", "strong")
    }
    size: Tree = {
        "model": {"encoder": {"name": args.encoder, "weights": {"source": args.weights}}},
        "training": {"epochs": args.epochs, "patience": args.epochs, "batch_size": args.batch},
        "dataloader": {"num_workers_multiplier": args.workers},
        "reporting": {"panels": {"best": 0, "median": 0, "worst": 1}},
        "data_processing": {"split": SPLIT},
    }
    if not args.xbd:
        scenes = dict(zip(("tier1", "tier3", "hold", "test"), args.scenes, strict=True))
        size["dataset"] = {"sample": {"size": args.size, "scenes": scenes}}
    ours: Tree = {
        "model": {"decoder_channels": args.decoder},
        "training": {
            "learning_rate": args.learning_rate,
            "localization_epochs": args.epochs // 3,
            "scheduler": {"T_0": max(1, args.epochs - 1)},
            "crop": args.crop,
            "crops_per_scene": args.crops,
            "ema_decay": args.ema,
        },
    }
    first = merged(shipped["seed_002"], merged(size, {"training": {"batch_size": max(1, args.batch // 4)}}))
    strong = merged(merged(shipped["strong"], size), ours)
    chosen = {"seed_002": first, "strong": strong}
    chosen |= {f"strong without {name}": merged(strong, change) for name, change in WITHOUT.items()}
    chosen |= {f"strong with {name}": merged(strong, change) for name, change in replacements(args).items()}
    return {name: tree for name, tree in chosen.items() if not args.only or name in args.only}


def folder_name(variant: str, seed: int) -> str:
    return f"{variant.replace(' ', '_').replace(',', '')}_seed{seed}"


def prepare(args: argparse.Namespace, variant: str, seed: int, tree: Tree) -> bool:
    """Write the experiment; return whether a run with the same settings has finished."""
    conf, name = args.out / "conf", folder_name(variant, seed)
    for layer in ("base", "local", f"users/{USER}", f"experiments/{name}"):
        (conf / layer).mkdir(parents=True, exist_ok=True)
    base = PROJECT / "conf" / "base"
    for path in (conf / "base").iterdir():  # of an earlier version of the project
        if not (base / path.name).exists():
            path.unlink()
    shutil.copytree(base, conf / "base", dirs_exist_ok=True)
    size = f"sample_{args.size}_{'_'.join(map(str, args.scenes))}"
    dataset = {"name": "xbd", "source": "xbd", "root": str(args.xbd)} if args.xbd else {"name": size}
    globals_ = {"storage": str(args.out / "data"), "dataset": dataset}
    (conf / "users" / USER / "globals.yml").write_text(yaml.safe_dump(globals_))
    path, text = (
        conf / "experiments" / name / "parameters.yml",
        yaml.safe_dump(merged(tree, {"training": {"seed": seed}})),
    )
    same = path.exists() and path.read_text() == text and bool(metrics_of(args, variant, seed))
    if not same:
        for metrics in metrics_of(args, variant, seed):
            metrics.unlink()
        path.write_text(text)
    return same


def metrics_of(args: argparse.Namespace, variant: str, seed: int) -> list[Path]:
    """Return the metrics of each run, the newest last."""
    return sorted((args.out / "data" / "08_reporting" / USER / folder_name(variant, seed)).glob("*/metrics.json"))


def run(args: argparse.Namespace, variant: str, seed: int) -> None:
    from kedro.framework.startup import bootstrap_project  # noqa: PLC0415  a dry run needs no Kedro

    from xview2_siamese_unet.runs import ProjectSession  # noqa: PLC0415

    bootstrap_project(PROJECT)
    env, conf = f"{USER}/{folder_name(variant, seed)}", str(args.out / "conf")
    with ProjectSession.create(PROJECT, env=env, conf_source=conf) as session:
        session.run()


def table(args: argparse.Namespace, names: list[str]) -> str:
    """Return mean ± standard deviation over the seeds, and the mean difference to the recipe of the same seed."""
    runs: dict[str, dict[int, dict[str, float]]] = {}
    for name in names:
        paths = {seed: metrics_of(args, name, seed) for seed in args.seeds}
        runs[name] = {seed: json.loads(files[-1].read_text()) for seed, files in paths.items() if files}
    lines = [f"| variant | seeds | {' | '.join(SCORES.values())} | score against strong |", "| --- " * 6 + "|"]
    for name, by_seed in runs.items():
        both = by_seed.keys() & runs.get("strong", {}).keys()
        difference = [by_seed[seed]["score"] - runs["strong"][seed]["score"] for seed in both]
        cells = [spread([metrics[key] for metrics in by_seed.values()]) for key in SCORES if by_seed]
        if cells:
            cells.append(f"{statistics.mean(difference):+.3f}" if both else "–")
            lines.append(f"| {name} | {len(by_seed)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def main(args: argparse.Namespace) -> None:
    chosen = variants(args)
    for seed in args.seeds:
        for name, tree in chosen.items():
            if args.dry_run:
                print(f"{name}, seed {seed}: {'finished' if metrics_of(args, name, seed) else 'to train'}")
            elif not prepare(args, name, seed, tree):
                started = time.perf_counter()
                run(args, name, seed)
                print(f"{name}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    where = f"{args.xbd.name} of xBD" if args.xbd else f"built-in sample, {args.size}², scenes {args.scenes}"
    print(f"\n{where}; {args.encoder}, weights {args.weights}, {args.epochs} epochs, crop {args.crop}\n")
    print(table(args, [*chosen]))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=lambda path: Path(path).resolve(), help="folder for everything that the runs write")
    parser.add_argument("--xbd", type=lambda path: Path(path).resolve(), help="root of xBD; default: built-in sample")
    parser.add_argument("--size", type=int, default=1024, help="pixels of a scene of the sample")
    parser.add_argument("--scenes", type=int, nargs=4, default=[12, 4, 4, 4], help="of tier1, tier3, hold, test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="of those that --dry-run lists; default: all")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--weights", default="none", choices=["none", "cache", "hub"], help="none works offline")
    parser.add_argument("--epochs", type=int, default=12, help="of the whole net; a third more for localisation first")
    parser.add_argument("--batch", type=int, default=4, help="crops; a quarter as many whole scenes for seed_002")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--crops", type=int, default=4, help="from each scene in an epoch")
    parser.add_argument("--decoder", type=int, nargs="+", default=[256, 128, 64, 32, 16], help="its channels")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="of all but seed_002, which keeps its own")
    parser.add_argument("--ema", type=float, default=0.98, help="decay a step; 0.999 for thousands of steps")
    parser.add_argument("--workers", type=float, default=0, help="for each core")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the runs, and the table of those that are finished"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    main(parse())
