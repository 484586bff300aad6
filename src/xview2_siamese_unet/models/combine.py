"""Several trained models as one: an ensemble, which averages probabilities, or a soup, which averages weights."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from xview2_siamese_unet.atomic import sha256, whole_file, write_atomically
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.card import ONNX, SUFFIXES, Card, Member, find_card, parse_card, write_card
from xview2_siamese_unet.models.postprocess import prediction_of, thresholds_of
from xview2_siamese_unet.models.trained import TrainedModel, read_model

Contents = Mapping[str, Mapping[str, Any]]
"""Name → a checkpoint or a card."""
_CPU: Final = HardwareParams(device="cpu", precision="32-true")
_NET: Final = ("model", "classes", "channels")


def write_ensemble(name: str, paths: Sequence[Path], folder: Path) -> Path:
    """Copy models into a folder and write the card of their ensemble.

    The means of their thresholds and vote weights are not tuned for the ensemble.

    Args:
        name: of the ensemble.
        paths: of checkpoints, of cards, or of ONNX networks with a card.
        folder: for the card, and numbered folders of its members.

    Returns:
        The card, `<name>.yml`.

    Raises:
        CheckpointError: a model that cannot be used, or models with different classes or decision rules.
        ConfigError: a bad card, or one of this name exists.
    """
    card = folder / f"{name}{SUFFIXES[0]}"
    if card.exists():
        raise ConfigError(f"{card} already exists.", hint="Choose another folder with --out, or remove it.")
    contents = _read(paths)
    _require_equal({key: TrainedModel(content, _CPU).classes for key, content in contents.items()}, "damage classes")
    rule = _mean_rule(contents)
    members = [_copy(path, folder, str(number)) for number, path in enumerate(paths, 1)]
    write_atomically(
        card, write_card(Card.model_validate({"name": name, **_shared(contents), **rule, "members": members}))
    )
    return card


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Any]:
    """Return one checkpoint whose weights are the means of several: a soup, Wortsman et al. 2022, arXiv:2203.05482.

    Integer buffers are those of the first. Thresholds, temperatures and vote weights are means; there are no scores.

    Args:
        paths: of checkpoints of one architecture, with the same settings of the net.

    Raises:
        CheckpointError: files that are not checkpoints, or of different nets or decision rules.
    """
    contents = _read(paths)
    if cards := [name for name, content in contents.items() if "card" in content]:
        raise CheckpointError(f"{cards[0]} is a card, not a checkpoint.", hint="Use kedro model ensemble for cards.")
    for key in _NET:
        _require_equal({name: content[key] for name, content in contents.items()}, f"settings ({key})")
    states = [content["state"] for content in contents.values()]
    _require_equal({name: _shapes(content["state"]) for name, content in contents.items()}, "weights")
    first = next(iter(contents.values()))
    temperatures = [content.get("temperatures") or {"building": 1.0, "damage": 1.0} for content in contents.values()]
    fingerprints = "\n".join(str(content.get("fingerprint")) for content in contents.values())
    return {
        **first,
        **{key: value for key, value in _shared(contents).items() if key in first},
        **_mean_rule(contents),
        "temperatures": {head: _mean([each[head] for each in temperatures]) for head in ("building", "damage")},
        "state": _mean_state(states),
        "fingerprint": hashlib.sha256(fingerprints.encode()).hexdigest(),
        **{key: type(first[key])() for key in ("scores", "history", "calibration") if key in first},
    }


def _read(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    if len(paths) < 2:
        raise ConfigError("There is only one model.", hint="Name two or more.")
    return {f"{number}: {path}": read_model(path) for number, path in enumerate(paths, 1)}


def _mean_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    means: dict[str, Tensor] = {}
    same: dict[tuple[int, tuple[int, ...]], Tensor] = {}  # weights that two U-Nets share stay one tensor
    for name, first in states[0].items():
        key = (first.data_ptr() or id(first), tuple(first.shape))
        if key not in same:
            mean = torch.stack([state[name].double() for state in states]).mean(dim=0)
            same[key] = mean.to(first.dtype) if first.is_floating_point() else first
        means[name] = same[key]
    return means


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _mean_rule(contents: Contents) -> dict[str, Any]:
    """Return means of thresholds and vote weights; views and vote have to be the same."""
    rules = {name: prediction_of(content) for name, content in contents.items()}
    _require_equal({name: rule.tta for name, rule in rules.items()}, "test-time augmentation (prediction.tta)")
    _require_equal({name: rule.vote for name, rule in rules.items()}, "vote (prediction.vote)")
    weights = [_mean(each) for each in zip(*(rule.vote_weights for rule in rules.values()), strict=True)]
    building, damaged = (_mean(each) for each in zip(*map(thresholds_of, contents.values()), strict=True))
    rule = next(iter(rules.values()))
    return {
        "thresholds": {"building": building, "damaged": damaged},
        "prediction": {**rule.model_dump(), "vote_weights": weights},
    }


def _shared(contents: Contents) -> dict[str, Any]:
    """Return the common values of several models, or all their values once."""
    sizes = {content.get("pixel_size") for content in contents.values()}
    texts = {
        key: "; ".join(dict.fromkeys(str(each[key]) for each in contents.values() if each.get(key)))
        for key in ("licence", "dataset", "version", "commit")
    }
    events = sorted({event for content in contents.values() for event in content.get("events") or ()})
    return {
        **texts,
        "licence": texts["licence"] or "not stated",
        "events": events,
        "pixel_size": sizes.pop() if len(sizes) == 1 else None,
    }


def _require_equal(values: Mapping[str, object], what: str) -> None:
    (first, wanted), *others = values.items()
    if other := next((name for name, value in others if value != wanted), None):
        raise CheckpointError(
            f"The models have different {what}, {first} and {other}.",
            hint="Combine models that were trained with the same settings.",
        )


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _copy(path: Path, folder: Path, inside: str) -> Member:
    """Copy a model with all its files into a folder inside of `folder`; return it as a member."""
    source = find_card(path) if path.suffix == ONNX else path
    files = [source, *_files(source)] if source.suffix in SUFFIXES else [source]
    for file in files:
        with whole_file(folder / inside / file.relative_to(source.parent)) as part:
            shutil.copyfile(file, part)
    return Member(file=f"{inside}/{source.name}", sha256=sha256(folder / inside / source.name))


def _files(card: Path) -> list[Path]:
    """Return the files of all members of a card."""
    files: list[Path] = []
    for member in parse_card(card).members:
        file = card.parent / member.file
        files += [file, *(card.parent / name for name in member.data), *(_files(file) if member.is_card else ())]
    return files
