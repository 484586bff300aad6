"""The decision rule, tuned on the validation scenes.

First one temperature for each head, then thresholds, then the class weights of the vote within a building, the last two
only as far as they also help scenes left out of the search. Each depends on the one before, but the net predicts the
scenes once; see `Predictions`. `unclassified` is the meaning of un-classified truth.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import HardwareParams, PredictionParams, Recipe, Unclassified, VoteWeights
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts
from xview2_siamese_unet.metrics.scores import mean_scores
from xview2_siamese_unet.models.hardware import autocast_dtype, pick_device
from xview2_siamese_unet.models.postprocess import (
    Temperatures,
    Thresholds,
    decide,
    logits_of,
    most_likely,
    prediction_of,
    probabilities,
    scored_bytes,
)
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.models.tensors import ImageTensor, ProbabilityTensor
from xview2_siamese_unet.models.trained import TrainedModel
from xview2_siamese_unet.models.vote import connected_components, sum_probabilities
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.calibration import calibrate, sample_logits
from xview2_siamese_unet.training.data import all_gather
from xview2_siamese_unet.training.distributed import get_rank, get_world_size
from xview2_siamese_unet.training.predictions import Predictions, Scenes, join_logits, split_logits
from xview2_siamese_unet.training.shrinkage import BLOCKS, Shrunk, shrink
from xview2_siamese_unet.types import (
    BlockCodeCounts,
    BoolArray,
    CodeCounts,
    CountRows,
    Int64Array,
    Mask,
    Numbers,
    PredictionCounts,
    Probabilities,
    ProbabilitySums,
)

_log = logging.getLogger(__name__)
_PIXELS: Final = 4_000_000  # for calibration, over all scenes
_STEPS: Final = 50  # of thresholds from 0 to 1
_SHAPE: Final = (BLOCKS, _STEPS, N_CODES, 2, N_CODES)
_LOWER, _UPPER = (index + 1 for index in np.tril_indices(_STEPS - 1)[::-1])
"""Steps of every pair of thresholds, none of them 0 or 1, the one for damage not above the other."""
_FACTORS: Final = 2.0 ** np.arange(-4, 4.25, 0.25)
_ROUNDS: Final = 3
Pair = tuple[Tensor, ProbabilityTensor]
"""Codes of building and damage (b, h, w, 2), and the predicted probabilities."""


class DecisionRule(NamedTuple):
    """What a checkpoint holds in addition to the weights.

    Attributes:
        temperatures: of both heads; 1 if none were fitted.
        calibration: errors of both heads before and after; empty if no temperatures were fitted.
        thresholds: probabilities above which a pixel is building.
        vote_weights: of the classes no damage to destroyed.
    """

    temperatures: Temperatures
    calibration: dict[str, float]
    thresholds: Thresholds
    vote_weights: VoteWeights


def tune_decision_rule(
    net: nn.Module, normalise: nn.Module, scenes: Scenes, n: int, recipe: Recipe, folder: Path
) -> DecisionRule:
    """Fit what the recipe asks for, with the augmented views of later predictions.

    Args:
        net: trained.
        normalise: grey values → input of the net.
        scenes: returns the batches of all validation scenes of this rank.
        n: number of scenes of all ranks.
        recipe: what to fit, and the device.
        folder: for the predictions, while they are needed.
    """
    params, unclassified = recipe.prediction, recipe.classes.unclassified
    device = pick_device(recipe.hardware.device)
    predict = Predictor(net, normalise, device=device, dtype=autocast_dtype(recipe.hardware, device), tta=params.tta)
    with _kept(folder, params) as file:
        # Without temperatures, which the first pass fits and the others divide by.
        logits = Predictions(lambda pre, post: join_logits(predict(pre, post)), scenes, file)
        return _tune(logits, n, params, unclassified)


def _kept(folder: Path, params: PredictionParams) -> AbstractContextManager[IO[bytes] | None]:
    """Return a file for predictions that more than one pass needs; the system removes it with the process."""
    passes = params.calibrate + params.tune * (1 if params.vote == "none" else 2)
    return TemporaryFile(dir=folder) if passes > 1 else nullcontext()


def _tune(logits: Predictions, n: int, params: PredictionParams, unclassified: Unclassified) -> DecisionRule:
    """Fit what `params` ask for to logits of the validation scenes, of which all ranks have `n`."""
    rule = DecisionRule(Temperatures(), {}, Thresholds(), params.vote_weights)
    if params.calibrate:
        temperatures, errors = calibrate(*sample_logits(logits, unclassified, max(64, _PIXELS // n)))
        rule = rule._replace(temperatures=temperatures, calibration=errors)
        _log.info("temperatures: %.2f building, %.2f damage", *rule.temperatures)
        _log.info("calibration error: %s", ", ".join(f"{name} {value:.4f}" for name, value in errors.items()))

    def calibrated() -> Iterator[Pair]:
        for truth, both in logits:
            yield truth, probabilities(split_logits(both, rule.temperatures))

    if params.tune:
        thresholds, weights = tune_classes(calibrated, params, unclassified)
        rule = rule._replace(thresholds=thresholds, vote_weights=weights)
    return rule


def tune_classes(
    predictions: Callable[[], Iterable[Pair]], params: PredictionParams, unclassified: Unclassified
) -> tuple[Thresholds, VoteWeights]:
    """Return tuned thresholds, and vote weights if there is a vote.

    Args:
        predictions: returns those of all validation scenes of this rank, at each call.
        params: vote, and the first vote weights.
        unclassified: meaning of un-classified truth.
    """
    thresholds = tune_thresholds(count_predictions(predictions()), unclassified)
    _log.info("building above probability %.2f, or above %.2f where damage is predicted", *thresholds.setting)
    _log_gain("score", thresholds)
    if params.vote == "none":
        return thresholds.setting, params.vote_weights
    # Not in the same pass: which pixels are one building depends on the thresholds.
    buildings = collect_buildings(predictions(), thresholds.setting)
    weights = tune_vote_weights(buildings, params.vote_weights, unclassified)
    _log.info("vote weights %.3g, %.3g, %.3g, %.3g", *weights.setting)
    _log_gain("damage F1", weights)
    return thresholds.setting, weights.setting


def tune_model(
    content: Mapping[str, Any],
    store: Store,
    names: Sequence[str],
    hardware: HardwareParams,
    unclassified: Unclassified,
    *,
    folder: Path,
) -> dict[str, Any]:
    """Return the decision rule of an ensemble, tuned on scenes, with the keys of a card.

    Args:
        content: a card without temperatures of the ensemble, see `models.trained.read_model`.
        store: the scenes.
        names: of the validation scenes.
        hardware: device and precision.
        unclassified: meaning of un-classified truth.
        folder: for the predictions, while they are needed.
    """
    rows, params = store.rows(names), prediction_of(content).model_copy(update={"tune": True})
    model = TrainedModel(content, hardware)

    def net(pre: ImageTensor, post: ImageTensor) -> Tensor:
        return join_logits(logits_of(torch.as_tensor(model(pre.numpy(), post.numpy()))))

    def scenes() -> Iterator[Tensor]:
        for row in track("validation scenes predicted", len(rows), rows):
            yield torch.from_numpy(np.array(store.pixels[row]))[None]

    with _kept(folder, params) as file:
        rule = _tune(Predictions(net, scenes, file), len(rows), params, unclassified)
    return {
        "ensemble_temperatures": rule.temperatures._asdict(),
        "thresholds": rule.thresholds._asdict(),
        "prediction": params.model_copy(update={"vote_weights": rule.vote_weights}).model_dump(),
    }


def _log_gain(name: str, tuned: Shrunk[Any]) -> None:
    """Log how much tuning gains on scenes left out of the search, with its standard error."""
    if tuned.strength:
        text = "tuned, by %.0f %%: mean %s %+.4f ± %.4f on validation scenes left out of the search"
        _log.info(text, 100 * tuned.strength, name, tuned.gain, tuned.error)
    else:
        _log.info("not tuned: no gain on validation scenes left out of the search exceeds its standard error")


def _blocks() -> Iterator[int]:
    """Yield the block of each validation scene of this rank."""
    return (scene % BLOCKS for scene in count(get_rank(), get_world_size()))


def count_predictions(predictions: Iterable[Pair]) -> PredictionCounts:
    """Count the pixels of each combination of prediction and truth.

    Axes: block of scenes, probability of a building in steps of 0.02, most likely damage code, true building, true
    damage code.
    """
    total = torch.zeros(math.prod(_SHAPE), dtype=torch.int64)
    blocks = _blocks()
    for truth, shares in predictions:
        probability, damage = most_likely(shares)
        block = torch.tensor([next(blocks) for _ in truth], device=damage.device)[:, None, None]
        # The step whose lower end the probability is above, as `decide` compares.
        step = (torch.ceil(probability * _STEPS) - 1).clamp(0, _STEPS - 1).long()
        joint = ((block * _STEPS + step) * N_CODES + damage) * 2 + truth[..., 0]
        joint = joint * N_CODES + truth[..., 1]
        total = total.to(joint.device) + torch.bincount(joint.flatten(), minlength=len(total))
    counted: Int64Array = np.sum(all_gather(total.cpu().numpy()), axis=0)
    return counted.reshape(_SHAPE)


def tune_thresholds(predictions: PredictionCounts, unclassified: Unclassified) -> Shrunk[Thresholds]:
    """Return the thresholds with the highest mean score, as far as that holds on scenes left out; see `shrink`.

    Args:
        predictions: as `count_predictions` returns them.
        unclassified: meaning of un-classified truth.
    """
    first = round(Thresholds().building * _STEPS)
    is_first = np.logical_and(first == _LOWER, first == _UPPER)

    def score(counts: Counts) -> Numbers:
        return mean_scores(counts, unclassified)["score"]

    def tune(blocks: BoolArray) -> Thresholds:
        scores = score(_count_above(predictions[blocks].sum(axis=0, keepdims=True), _LOWER, _UPPER))
        scores[is_first] += 1e-9  # the first ones stay unless others are better
        best = int(np.argmax(scores))
        return Thresholds(_UPPER[best] / _STEPS, _LOWER[best] / _STEPS)

    def between(tuned: Thresholds, strength: float) -> Thresholds:
        steps = (round(first + strength * (value * _STEPS - first)) for value in tuned)
        return Thresholds(*(step / _STEPS for step in steps))

    def rows(thresholds: Thresholds) -> CountRows:
        upper, lower = (np.array([round(value * _STEPS)]) for value in thresholds)
        return _count_above(predictions, lower, upper).row()

    used = predictions.sum(axis=(1, 2, 3, 4)) > 0
    return shrink(tune=tune, between=between, count=rows, score=score, blocks=used)


def _count_above(predictions: PredictionCounts, lower: Int64Array, upper: Int64Array) -> Counts:
    """Return the counts of each block (and one pair of steps) or of each pair of steps (and one block)."""
    above = predictions[:, ::-1].cumsum(axis=1)[:, ::-1]
    damaged = np.isin(np.arange(N_CODES), (Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE, Damage.DESTROYED))
    # Code, true building, true code of the pixels that are predicted as building.
    predicted = np.where(damaged[:, None, None], above[:, lower], above[:, upper]).reshape(-1, *_SHAPE[2:])
    missed = (predictions.sum(axis=1) - predicted).sum(axis=1)
    localization = np.stack([missed.sum(axis=2), predicted.sum(axis=(1, 3))], axis=2)
    damage = predicted.sum(axis=2).swapaxes(1, 2).copy()
    damage[:, :, Damage.BACKGROUND] += missed.sum(axis=1)
    return Counts(localization, damage)


class Buildings(NamedTuple):
    """Predicted buildings: all that the damage F1 of a vote depends on.

    Attributes:
        probabilities: summed over each building, for the four damage classes.
        truth: pixels of each true code in each building.
        block: of the scene of each building.
        missed: pixels of each true code in no building, for each block.
    """

    probabilities: ProbabilitySums
    truth: CodeCounts
    block: Int64Array
    missed: BlockCodeCounts


def collect_buildings(predictions: Iterable[Pair], thresholds: Thresholds) -> Buildings:
    """Return the predicted buildings of scenes, one row each."""
    own: list[Buildings] = []
    blocks = _blocks()
    for truth, shares in predictions:
        codes, damage = decide(shares, thresholds).cpu().numpy(), truth[..., 1].cpu().numpy()
        own += [_buildings(*scene) for scene in zip(codes, scored_bytes(shares), damage, blocks, strict=False)]
    parts = [part for rank in all_gather(own) for part in rank]
    sums, truths, numbers, missed = zip(*parts, strict=True)
    return Buildings(np.concatenate(sums), np.concatenate(truths), np.concatenate(numbers), np.sum(missed, axis=0))


def _buildings(codes: Mask, shares: Probabilities, truth: Mask, block: int) -> Buildings:
    numbers, n = connected_components(codes)
    joint = numbers.astype(np.int64) * N_CODES + truth
    pixels = np.bincount(joint.ravel(), minlength=(n + 1) * N_CODES).reshape(n + 1, N_CODES)
    missed = np.zeros((BLOCKS, N_CODES), np.int64)
    missed[block] = pixels[0]
    return Buildings(sum_probabilities(numbers, n, shares), pixels[1:], np.full(n, block), missed)


def count_votes(buildings: Buildings, weights: Sequence[float]) -> Counts:
    """Return the counts of damage of each block after a vote with these weights; those of localisation are 0."""
    voted = (buildings.probabilities * weights).argmax(axis=1) + int(Damage.NO_DAMAGE)
    joint = buildings.block * N_CODES + voted
    size = BLOCKS * N_CODES
    sums = [np.bincount(joint, pixels, minlength=size).reshape(BLOCKS, N_CODES) for pixels in buildings.truth.T]
    damage = np.stack(sums, axis=1).astype(np.int64)
    damage[:, :, Damage.BACKGROUND] = buildings.missed
    return Counts(np.zeros((BLOCKS, 2, 2), np.int64), damage)


def tune_vote_weights(buildings: Buildings, start: VoteWeights, unclassified: Unclassified) -> Shrunk[VoteWeights]:
    """Return the class weights with the highest mean damage F1, as far as that holds on scenes left out."""

    def score(counts: Counts) -> Numbers:
        return mean_scores(counts, unclassified)["damage_f1"]

    def tune(blocks: BoolArray) -> VoteWeights:
        return _search_weights(lambda weights: score(_sum(count_votes(buildings, weights), blocks)).item(), start)

    def between(tuned: VoteWeights, strength: float) -> VoteWeights:
        a, b, c, d = (float(w * (t / w) ** strength) for w, t in zip(start, tuned, strict=True))
        return a, b, c, d

    used = np.bincount(buildings.block, minlength=BLOCKS) + buildings.missed.sum(axis=1) > 0
    return shrink(tune=tune, between=between, count=lambda w: count_votes(buildings, w).row(), score=score, blocks=used)


def _sum(counts: Counts, blocks: BoolArray) -> Counts:
    return Counts(counts.localization[blocks].sum(axis=0), counts.damage[blocks].sum(axis=0))


def _search_weights(score: Callable[[VoteWeights], float], start: VoteWeights) -> VoteWeights:
    """Return weights such that no change of one of them, by a factor of up to 16, raises the score."""
    highest, best = score(start), start
    for _ in range(_ROUNDS):
        before = best
        for code in range(len(SCORED)):
            for factor in _FACTORS:
                changed = [*best]
                changed[code] = float(start[code] * factor)
                a, b, c, d = changed
                if (value := score((a, b, c, d))) > highest:
                    highest, best = value, (a, b, c, d)
        if best == before:
            break
    return best
