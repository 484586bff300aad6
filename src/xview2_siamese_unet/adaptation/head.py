"""Heads, which map features of buildings to probabilities of damage classes: applying, writing, reading them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.special import softmax

from xview2_siamese_unet.adaptation.embedding import Block, Embedding
from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import CheckpointError, ConfigError, DataError
from xview2_siamese_unet.types import Float32Array, Float64Array

HEAD: Final = "head.safetensors"
"""File of the head among the adapted products."""
FEW: Final = 100
"""Number of labels below which every product carries a warning."""
FLOOR: Final = 1e-3
"""Least zero-shot probability: no net can be more confident about an event that it was not trained on."""
_ARRAYS: Final = ("centre", "scale", "coefficients", "intercept")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Average logits → log-probabilities."""

    slope: float = 1.0
    shift: tuple[float, ...] = ()
    zero_shot: float = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted head.

    Attributes:
        codes: `Damage` codes that it predicts, in rising order.
        centre: subtracted from the features (d,).
        scale: by which they are divided (d,).
        coefficients: (d, k) of the averaged classifiers.
        intercept: (k,).
        calibration: of the logits.
        blocks: of the columns of features.
        strength: chosen inverse strength of regularisation.
        facts: number of labels, sources of features and the like, as JSON holds them.
    """

    codes: tuple[int, ...]
    centre: Float32Array
    scale: Float32Array
    coefficients: Float32Array
    intercept: Float32Array
    calibration: Calibration
    blocks: tuple[Block, ...]
    strength: float
    facts: dict[str, Any] = field(default_factory=dict)

    def logits(self, features: Float32Array) -> Float64Array:
        """Return the average logits (n, k)."""
        standard: Float64Array = ((features - self.centre) / self.scale).astype(np.float64)
        logits: Float64Array = standard @ self.coefficients + self.intercept
        return logits

    def probabilities(self, features: Float32Array, zero_shot: Float64Array | None = None) -> Float64Array:
        """Return the probabilities of the four damage classes (n, 4); NaN for buildings without features."""
        return calibrated(self.logits(features), self.codes, self.calibration, zero_shot)


def calibrated(
    logits: Float64Array, codes: Sequence[int], calibration: Calibration, zero_shot: Float64Array | None
) -> Float64Array:
    """Return the probabilities of the four damage classes (n, 4).

    A class without labels keeps its zero-shot probability, or gets 0 without a net; the others share the rest.
    """
    if not codes:
        if zero_shot is None:
            raise DataError("There are neither labels nor a model.", hint="Name labels with --labels.")
        return zero_shot
    columns = np.asarray(codes) - int(Damage.NO_DAMAGE)
    total = calibration.slope * logits + np.asarray(calibration.shift or (0.0,) * len(codes))
    shares = np.zeros((len(logits), len(SCORED)))
    if zero_shot is None:
        shares[:, columns] = softmax(total, axis=1)
        return shares
    prior = prior_of(zero_shot)
    shares[:] = prior
    fitted = prior[:, columns]
    total = total + calibration.zero_shot * np.log(fitted.clip(FLOOR))
    shares[:, columns] = softmax(total, axis=1) * fitted.sum(axis=1, keepdims=True)
    probabilities: Float64Array = shares / shares.sum(axis=1, keepdims=True)
    return probabilities


def prior_of(zero_shot: Float64Array) -> Float64Array:
    """Return zero-shot probabilities; a building whose probabilities are missing or all zero gets equal ones."""
    known = np.isfinite(zero_shot).all(axis=1) & (zero_shot.sum(axis=1) > 0)
    return np.where(known[:, None], zero_shot, 1 / len(SCORED))


def no_head(blocks: tuple[Block, ...]) -> Head:
    """Return the head without labels, which leaves the zero-shot probabilities as they are."""
    width = blocks[-1].stop
    zeros, ones = np.zeros(width, np.float32), np.ones(width, np.float32)
    empty = np.zeros((width, 0), np.float32), np.zeros(0, np.float32)
    return Head((), zeros, ones, *empty, Calibration(), blocks, 1.0, {"labels": 0})


def write_head(head: Head, path: Path) -> None:
    """Write a head as safetensors, with its other fields as JSON in the header."""
    arrays = {name: np.ascontiguousarray(getattr(head, name)) for name in _ARRAYS}
    rest = {
        "codes": head.codes,
        "calibration": asdict(head.calibration),
        "blocks": [list(block) for block in head.blocks],
        "strength": head.strength,
        "facts": head.facts,
    }
    with whole_file(path) as part:
        part.write_bytes(save(arrays, metadata={"head": json.dumps(rest)}))


def read_head(path: Path) -> Head:
    """Return a head; no code of the file is executed.

    Raises:
        CheckpointError: the file does not exist or is not a head.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
            rest = json.loads(file.metadata()["head"])
        calibration = Calibration(**{**rest["calibration"], "shift": tuple(rest["calibration"]["shift"])})
        blocks = tuple(Block(*block) for block in rest["blocks"])
        head = Head(
            tuple(rest["codes"]),
            **arrays,
            calibration=calibration,
            blocks=blocks,
            strength=rest["strength"],
            facts=rest["facts"],
        )
        _check(head)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a head file ({error}).", hint="Name a head.safetensors that kedro adapt has written."
        ) from error
    return head


def require_encoders(head: Head, embedding: Embedding, path: Path) -> None:
    """Require that features are of the same kind as those that a head was fitted on.

    Raises:
        ConfigError: other sources, other weights, other images for random convolutions, or one image in place of two.
    """
    fitted, made = head.facts.get("encoders"), embedding.encoders
    if head.blocks == embedding.blocks and fitted == made:
        return
    if head.blocks == embedding.blocks and set(made) == set(fitted or ()) and "random" in made:
        raise ConfigError(
            f"{path} was fitted on convolutions with patches of other images (random).",
            hint="Label buildings of this assessment, or fit the head with --features package.",
        )
    raise ConfigError(
        f"{path} needs other features than {' and '.join(made)} of these images.",
        hint=f"Set adaptation.features to {head.facts.get('features')}, and use the same kind of images.",
    )


def _check(head: Head) -> None:
    """Require that the parts of a head fit together.

    Raises:
        TypeError: a part of another type.
        ValueError: shapes, codes or numbers that do not fit.
    """
    if not isinstance(head.facts, dict) or type(head.facts.get("labels")) is not int:
        raise TypeError("no number of labels")
    codes = head.codes
    if any(type(code) is not int or code not in SCORED for code in codes) or list(codes) != sorted(set(codes)):
        raise ValueError(f"codes {codes}")
    stops = [block.stop for block in head.blocks]
    if not stops or [block.start for block in head.blocks] != [0, *stops[:-1]]:
        raise ValueError("blocks with gaps")
    width, count = stops[-1], len(codes)
    expected = dict(zip(_ARRAYS, ((width,), (width,), (width, count), (count,)), strict=True))
    for name, shape in expected.items():
        array: Float32Array = getattr(head, name)
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected float32 {shape}")
    if len(head.calibration.shift) not in (0, count) or not (head.scale > 0).all():
        raise ValueError("calibration or scale")
    if not np.isfinite([head.calibration.slope, head.calibration.zero_shot, *head.calibration.shift]).all():
        raise ValueError("calibration")
