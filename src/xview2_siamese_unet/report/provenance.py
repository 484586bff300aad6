"""Where a report comes from: code, data, model and seeds, as a flat table."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any


def provenance_of(
    checkpoint: Mapping[str, Any],
    run: Mapping[str, Any],
    model_file: str | None,
    fingerprint: str,
    settings: Mapping[str, str],
) -> dict[str, str]:
    """Return name → value.

    Args:
        checkpoint: what was scored, see `nets.checkpoint.Checkpoint`.
        run: what made it, see `runs.describe_run`.
        model_file: name of the file of weights.
        fingerprint: of the scored scenes and their truth.
        settings: dotted key → value.
    """
    dataset = run["settings"]["dataset"]
    fabricated = "fabricated scenes" if dataset["source"] == "sample" else "xBD"
    seeds = {key.removesuffix(".seed"): value for key, value in settings.items() if key.endswith(".seed")}
    return {
        "code": ", ".join(f"{name} {version(name)}" for name in ("xview2-siamese-unet", "kedro", "torch", "numpy")),
        "computer": f"Python {platform.python_version()}, {platform.system()}, {platform.machine()}",
        "run": run["id"],
        "data": f"{dataset['name']} ({fabricated})",
        "fingerprint of the scored scenes and their truth": fingerprint,
        "model file": model_file or "not named (reporting.model_file)",
        "trained by": f"xview2-siamese-unet {' '.join(_code(checkpoint))} on {checkpoint['dataset']}",
        "fingerprint of the training, its scenes and settings": checkpoint["fingerprint"],
        "epoch": f"{checkpoint['epoch']}, the best of {len(checkpoint['history'])}",
        **dict(_answering(checkpoint)),
        "seeds": ", ".join(f"{key} {value}" for key, value in seeds.items()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _code(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    yield checkpoint["version"]
    if commit := checkpoint.get("commit"):  # nothing where the code was no checkout
        yield f"({commit})"


def _answering(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what turns logits into answers, and what temperatures did on the validation scenes, where there are any."""
    for key in ("thresholds", "temperatures"):
        if values := checkpoint.get(key):
            yield key, ", ".join(f"{name} {value:.2f}" for name, value in values.items())
    errors = checkpoint.get("calibration") or {}
    heads = [name.removesuffix("_ece_before") for name in errors if name.endswith("_ece_before")]
    if heads:
        changes = (f"{head} {errors[f'{head}_ece_before']:.3f} → {errors[f'{head}_ece_after']:.3f}" for head in heads)
        yield "ECE on validation, before and after the temperatures", ", ".join(changes)
