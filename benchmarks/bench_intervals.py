"""Coverage and width of the intervals of a validation sample, by simulation.

    uv run python benchmarks/bench_intervals.py [POPULATIONS [zones|scores|later]]

Populations of 5,000 buildings, of which a fixed share is damaged, with scores of a binormal model of a given AUC. One
sample each: strata and allocation as `kedro validate` makes them, intervals as `kedro estimate` computes them. "plain"
is the simple random sample with its normal interval. `scores` repeats it for scores that are over-confident, shifted,
reversed or constant; `zones` for 20 zones that differ. `later` runs the code of the commands itself, `draw`, `survey`
and `post_strata`: a sample drawn without a model, and estimated with predictions that came later. Target: coverage of
at least 0.93 in every row, and at AUC 0.95 and a prevalence of 10 % or more at most 0.75 of the plain width; zones:
0.92.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd
from scipy import special, stats

from xview2_siamese_unet.inference.buildings import ASSESSED, SHARES
from xview2_siamese_unet.validation.estimation import estimates_table, survey
from xview2_siamese_unet.validation.intervals import Interval, count_interval
from xview2_siamese_unet.validation.sampling import (
    allocate,
    draw,
    expected_spreads,
    new_population,
    parts_by_confidence,
)
from xview2_siamese_unet.validation.zones import zone_intervals

BUILDINGS = 5000
PREVALENCES = (0.005, 0.01, 0.03, 0.1, 0.4)
AUCS = (0.6, 0.8, 0.95)
COUNTS = (50, 100, 200)
ZONES = 20
NOMINAL = 1.96
DISTORTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "calibrated": lambda logits: logits,
    "over-confident": lambda logits: 3 * logits,
    "shifted up": lambda logits: logits + 3,
    "shifted down": lambda logits: logits - 3,
    "reversed": lambda logits: -logits,
    "constant": lambda logits: 0 * logits,
}


def draw_strata(logits: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the stratum of each building, and buildings and labels of each stratum, as `kedro validate` does."""
    probability = special.expit(logits)
    spread = expected_spreads(np.column_stack([1 - probability, np.zeros((len(logits), 2)), probability]))
    codes = np.where(probability > 0.5, 4, 1)
    _, stratum = np.unique(100 * codes + parts_by_confidence(codes, spread, count), return_inverse=True)
    sizes = np.bincount(stratum)
    return stratum, sizes, allocate(sizes, np.bincount(stratum, spread) / sizes, count)


def draw_counts(rng: np.random.Generator, damaged: np.ndarray, logits: np.ndarray, count: int) -> np.ndarray:
    """Return labels of damage, labels and buildings of each stratum of one sample (3, strata)."""
    stratum, sizes, labelled = draw_strata(logits, count)
    of_damage = np.bincount(stratum[damaged], minlength=len(sizes))
    return np.stack([rng.hypergeometric(of_damage, sizes - of_damage, labelled), labelled, sizes])


def binormal(rng: np.random.Generator, damaged: np.ndarray, auc: float) -> np.ndarray:
    """Return calibrated logits of a model."""
    distance, odds = np.sqrt(2) * stats.norm.ppf(auc), special.logit(damaged.mean())
    return odds + distance * (rng.standard_normal(len(damaged)) + distance * (damaged - 0.5))


def padded(counts: list[np.ndarray]) -> np.ndarray:
    """Return counts of populations with different numbers of strata as one array (3, populations, strata)."""
    most = max(each.shape[1] for each in counts)
    return np.stack([np.pad(each, ((0, 0), (0, most - each.shape[1]))) for each in counts], axis=1)


def simulate(
    prevalence: float, auc: float, count: int, populations: int, scores: str = "calibrated"
) -> dict[str, float]:
    """Return coverage and mean width of both intervals."""
    rng = np.random.default_rng([round(1000 * prevalence), round(100 * auc), count])
    truth = round(prevalence * BUILDINGS)
    damaged = np.arange(BUILDINGS) < truth
    distort = DISTORTIONS[scores]
    positive, labelled, sizes = padded(
        [draw_counts(rng, damaged, distort(binormal(rng, damaged, auc)), count) for _ in range(populations)]
    )
    ours = count_interval(positive, labelled, sizes)
    assert (ours.low >= positive.sum(1)).all()
    assert (ours.high <= BUILDINGS - (labelled - positive).sum(1)).all()
    assert (ours.low < ours.high).all()
    share = rng.hypergeometric(truth, BUILDINGS - truth, count, populations) / count
    error = NOMINAL * np.sqrt(share * (1 - share) / (count - 1) * (1 - count / BUILDINGS))
    plain = Interval(share, BUILDINGS * (share - error), BUILDINGS * (share + error))
    below, above = float((truth < ours.low).mean()), float((truth > ours.high).mean())
    return {
        "coverage": 1 - below - above,
        "too_high": below,
        "too_low": above,
        "width": float((ours.high - ours.low).mean()),
        "plain_coverage": float(((plain.low <= truth) & (truth <= plain.high)).mean()),
        "plain_width": float((plain.high - plain.low).mean()),
        "bias": float((ours.estimate - truth).mean()),
    }


def simulate_zones(prevalence: float, auc: float, count: int, differ: float, populations: int) -> dict[str, float]:
    """Return coverage and mean width in zones whose log odds of damage differ by a standard deviation."""
    rng = np.random.default_rng([round(1000 * prevalence), round(100 * auc), count, round(10 * differ)])
    covered, widths, worst = [], [], []
    for _ in range(populations):
        zone = np.sort(rng.choice(ZONES, BUILDINGS, p=rng.dirichlet(np.full(ZONES, 2.0))))
        logit = special.logit(prevalence) + differ * rng.standard_normal(ZONES)
        damaged = rng.random(BUILDINGS) < special.expit(logit)[zone]
        if not damaged.any():
            continue
        stratum, sizes, wanted = draw_strata(binormal(rng, damaged, auc), count)
        rank = pd.Series(rng.permutation(BUILDINGS)).groupby(stratum).rank().to_numpy()
        drawn = rank <= wanted[stratum]
        shape = (ZONES, len(sizes))
        cell = np.ravel_multi_index((zone, stratum), shape)
        counts = [
            np.bincount(cell[rows], minlength=ZONES * len(sizes)).reshape(shape)
            for rows in (drawn & damaged, drawn, np.ones(BUILDINGS, bool))
        ]
        truth = np.bincount(zone[damaged], minlength=ZONES)
        each = zone_intervals(*counts)
        inside = (each.low <= truth) & (truth <= each.high)
        covered.append(inside.mean())
        widths.append((each.high - each.low).mean())
        worst.append(truth[~inside].sum() / max(1, truth.sum()))
    return {"coverage": float(np.mean(covered)), "width": float(np.mean(widths)), "missed": float(np.mean(worst))}


def assessed_buildings(logits: np.ndarray | None = None) -> pd.DataFrame:
    """Return buildings as an assessment holds them, without predictions or with those of these logits."""
    frame = pd.DataFrame({"building_id": np.arange(BUILDINGS).astype(str), "status": ASSESSED, "reason": None})
    frame["damage"] = pd.array([pd.NA] * BUILDINGS, dtype="Int8")
    frame[[*SHARES]] = np.nan
    if logits is not None:
        probability = special.expit(logits)
        frame["damage"] = pd.array(np.where(probability > 0.5, 4, 1), dtype="Int8")
        frame[[*SHARES]] = np.column_stack([1 - probability, np.zeros((BUILDINGS, 2)), probability])
    return frame


def simulate_later(prevalence: float, auc: float, count: int, populations: int) -> dict[str, float]:
    """Return coverage and mean width with predictions that came after the sample, and the width without them."""
    rng = np.random.default_rng([round(1000 * prevalence), round(100 * auc), count])
    truth = round(prevalence * BUILDINGS)
    damaged, blank = np.arange(BUILDINGS) < truth, assessed_buildings()
    covered, widths, before = [], [], []
    for number in range(populations):
        population = new_population(blank, count, number)
        ids = draw(population, count)["building_id"]
        rows = ids.astype(int).to_numpy()
        labels = pd.DataFrame({"building_id": ids, "damage": pd.array(np.where(damaged[rows], 4, 1), dtype="Int8")})
        frame = assessed_buildings(binormal(rng, damaged, auc))
        row = estimates_table(survey(population, frame, ids.tolist(), labels), {}).iloc[0]
        covered.append(row["low"] <= truth <= row["high"])
        widths.append(row["high"] - row["low"])
        single = count_interval(np.array([damaged[rows].sum()]), np.array([count]), np.array([BUILDINGS]))
        before.append(single.high - single.low)
    return {"coverage": float(np.mean(covered)), "width": float(np.mean(widths)), "without": float(np.mean(before))}


def rows(populations: int, scores: str = "calibrated") -> Iterator[tuple[str, bool]]:
    """Yield a line of each case, and whether it reaches the targets."""
    for prevalence, auc, count in product(PREVALENCES, AUCS, COUNTS):
        one = simulate(prevalence, auc, count, populations, scores)
        ratio = one["width"] / max(one["plain_width"], 1e-9)  # 0 if no population has a label of damage
        good = one["coverage"] >= 0.93 and (scores != "calibrated" or auc < 0.95 or prevalence < 0.1 or ratio <= 0.75)
        yield (
            (
                f"{prevalence:>10.1%} {auc:>5.2f} {count:>6} {one['coverage']:>9.3f} {one['too_high']:>9.3f} "
                f"{one['too_low']:>8.3f} {one['width']:>7.0f} {one['plain_coverage']:>9.3f} {one['plain_width']:>7.0f} "
                f"{ratio:>6.2f}{'' if good else '  MISSED'}"
            ),
            good,
        )


def zone_rows(populations: int) -> Iterator[tuple[str, bool]]:
    """Yield a line of each case of zones, and whether it reaches the target."""
    for differ, prevalence, auc, count in product((0.0, 1.0, 2.0), (0.01, 0.1, 0.4), (0.6, 0.95), (50, 200)):
        one = simulate_zones(prevalence, auc, count, differ, populations)
        good = one["coverage"] >= 0.92
        yield (
            (
                f"{differ:>6.1f} {prevalence:>10.1%} {auc:>5.2f} {count:>6} {one['coverage']:>9.3f} "
                f"{one['width']:>7.1f} {one['missed']:>6.3f}{'' if good else '  MISSED'}"
            ),
            good,
        )


def later_rows(populations: int) -> Iterator[tuple[str, bool]]:
    """Yield a line of each case of later predictions, and whether it reaches the target."""
    for prevalence, auc, count in product((0.01, 0.1, 0.4), (0.6, 0.95), (50, 200)):
        one = simulate_later(prevalence, auc, count, populations)
        good = one["coverage"] >= 0.93
        yield (
            f"{prevalence:>10.1%} {auc:>5.2f} {count:>6} {one['coverage']:>9.3f} {one['width']:>7.0f} "
            f"{one['without']:>8.0f}{'' if good else '  MISSED'}",
            good,
        )


def main(populations: int, what: str) -> None:
    heading = "prevalence   AUC labels  coverage  too high  too low   width     plain   width  ratio"
    if what == "zones":
        print(f"{populations} populations of {BUILDINGS} buildings in {ZONES} zones")
        print("differ prevalence   AUC labels  coverage   width missed")
        tables = {"": zone_rows(populations)}
    elif what == "later":
        print(f"{populations} populations of {BUILDINGS} buildings, sampled without a model")
        print("prevalence   AUC labels  coverage   width  without predictions")
        tables = {"": later_rows(populations)}
    else:
        names = DISTORTIONS if what == "scores" else ("calibrated",)
        print(f"{populations} populations of {BUILDINGS} buildings; share of intervals that hold the truth, mean width")
        print(heading)
        tables = {name: rows(populations, name) for name in names}
    missed = 0
    for name, table in tables.items():
        if len(tables) > 1:
            print(f"{name} scores")
        for line, good in table:
            print(line, flush=True)
            missed += not good
    print(f"{missed} rows miss a target")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2] if len(sys.argv) > 2 else "")
